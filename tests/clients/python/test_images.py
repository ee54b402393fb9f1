"""Pictures are made and edited as the SDK wants it: whole, as events, from files and from bytes."""

from __future__ import annotations

import base64
import io

import pytest
from openai import BadRequestError, PermissionDeniedError, RateLimitError

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
URL = "data:image/png;base64," + base64.b64encode(PIXEL).decode()


def is_png(data: str) -> bool:
    return base64.b64decode(data).startswith(b"\x89PNG\r\n\x1a\n")


def test_pictures_are_made_from_words(client, sim):
    answer = client.images.generate(prompt="a red fox", n=2, size="1024x1024", quality="low")
    assert [is_png(picture.b64_json) for picture in answer.data] == [True, True]
    assert (answer.output_format, answer.size, answer.quality) == ("png", "1254x1254", "low")
    assert answer.usage.total_tokens == 2 * 199
    assert answer.usage.input_tokens_details.text_tokens == 2 * 3
    assert [sent.body["n"] for sent in sim.images()] == [1, 1]


def test_what_has_no_effect_is_told(client):
    raw = client.images.with_raw_response.generate(
        prompt="a", model="gpt-image-1", response_format="url", output_format="webp", user="me"
    )
    ignored = raw.headers["x-airelays-ignored-parameters"].split(",")
    assert sorted(ignored) == ["output_format", "response_format", "user"]
    assert is_png(raw.parse().data[0].b64_json)


def test_a_stream_has_one_event_for_each_picture(client):
    events = list(client.images.generate(prompt="a", n=3, stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.completed"] * 3
    assert all(is_png(event.b64_json) and event.usage.total_tokens == 197 for event in events)


@pytest.mark.parametrize("many", [False, True])
def test_files_are_edited(client, sim, many):
    file = ("a.png", io.BytesIO(PIXEL), "image/png")
    answer = client.images.edit(image=[file, PIXEL] if many else file, prompt="pêche", n=1)
    assert is_png(answer.data[0].b64_json)
    (sent,) = sim.images()
    assert sent.body["images"] == [{"image_url": URL}] * (2 if many else 1)
    assert sent.body["prompt"] == "pêche"
    assert sent.headers["content-type"] == "application/json"


def test_an_edit_can_be_streamed(client):
    events = list(client.images.edit(image=PIXEL, prompt="a", stream=True))
    assert [event.type for event in events] == ["image_edit.completed"]


def test_refusals_are_the_errors_of_the_sdk(client, sim):
    with pytest.raises(BadRequestError) as refused:
        client.images.generate(prompt="a", size="7x7")
    assert (refused.value.code, refused.value.param) == ("invalid_value", "size")
    with pytest.raises(BadRequestError) as refused:
        client.images.edit(image=b"no picture", prompt="a")
    assert refused.value.code == "unsupported_file_mimetype"
    sim.script("blank: 404")
    with pytest.raises(PermissionDeniedError) as refused:
        client.images.generate(prompt="a")
    assert refused.value.code == "images_not_enabled"


def test_a_limit_that_is_reached_is_the_sdks_rate_limit(connect, sim):
    sim.script("limit: 60")
    with pytest.raises(RateLimitError) as refused:
        connect(max_retries=2).images.generate(prompt="a")
    assert refused.value.code == "usage_limit_reached"
    assert 50 < int(refused.value.response.headers["retry-after"]) <= 60
    assert len(sim.images()) == 1
