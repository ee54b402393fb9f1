"""Files, conversations and kept answers, as the SDK uses them."""

from __future__ import annotations

import harness
import openai
import pytest

MODEL = "gpt-5.5"


@pytest.fixture
def relay(tmp_path):
    with harness.relay(tmp_path, "--stateful") as running:
        yield running


def test_a_file_comes_back_as_it_was(client):
    content = bytes(range(256)) * 1000
    made = client.files.create(
        file=("all.bin", content),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (made.bytes, made.status, made.purpose) == (len(content), "processed", "user_data")
    assert made.expires_at == made.created_at + 3600
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == content
    others = [client.files.create(file=b"x", purpose="vision").id for _ in range(4)]
    listed = [file.id for file in client.files.list(limit=2)]
    assert listed == [*reversed(others), made.id]
    assert [file.id for file in client.files.list(purpose="user_data", order="asc")] == [made.id]
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_a_file_is_read_in_every_dialect(client, sim):
    file = client.files.create(file=("notes.md", b"the word is heron"), purpose="user_data")
    parts = [{"type": "input_file", "file_id": file.id}, {"type": "input_text", "text": "?"}]
    client.responses.create(model=MODEL, input=[{"role": "user", "content": parts}])
    parts = [{"type": "file", "file": {"file_id": file.id}}, {"type": "text", "text": "?"}]
    client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}])
    for sent in sim.inference():
        assert sent.items[0]["content"][0]["text"].endswith("the word is heron")


def test_a_conversation_is_carried_on(client, sim):
    conversation = client.conversations.create(
        metadata={"topic": "birds"},
        items=[{"type": "message", "role": "user", "content": "My name is Ada."}],
    )
    first = client.responses.create(model=MODEL, input="one", conversation=conversation.id)
    assert first.conversation.id == conversation.id
    with client.responses.stream(model=MODEL, input="two", conversation=conversation.id) as stream:
        stream.until_done()
    said = [item.content[0].text for item in client.conversations.items.list(
        conversation.id, order="asc", limit=2)]  # fmt: skip
    assert said[:2] == ["My name is Ada.", "one"] and len(said) == 5
    assert [item["role"] for item in sim.inference()[1].items] == [
        "user", "user", "assistant", "user"]  # fmt: skip
    added = client.conversations.items.create(
        conversation.id, items=[{"role": "user", "content": "three"}]
    )
    item = client.conversations.items.retrieve(added.data[0].id, conversation_id=conversation.id)
    assert item.content[0].text == "three"
    client.conversations.items.delete(item.id, conversation_id=conversation.id)
    assert client.conversations.update(conversation.id, metadata={"topic": "x"}).metadata == {
        "topic": "x"
    }
    assert client.conversations.retrieve(conversation.id).metadata == {"topic": "x"}
    assert client.conversations.delete(conversation.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model=MODEL, input="x", conversation=conversation.id)


def test_an_answer_is_kept_and_gone_on_from(client, sim):
    first = client.responses.create(model=MODEL, input="one", metadata={"a": "b"})
    assert client.responses.retrieve(first.id) == first
    second = client.responses.create(model=MODEL, input="two", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert [item["role"] for item in sim.inference()[1].items] == ["user", "assistant", "user"]
    asked = list(client.responses.input_items.list(second.id, order="asc", limit=1))
    assert [item.content[0].text for item in asked][::2] == ["one", "two"]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=MODEL, input="three", previous_response_id=second.id)
    assert refused.value.code == "previous_response_not_found"


def test_an_answer_in_the_background_is_polled(client):
    begun = client.responses.create(model=MODEL, input="hello", background=True)
    assert begun.status in ("queued", "in_progress") and begun.background
    ended = harness.wait_for("the answer", lambda: (r := client.responses.retrieve(begun.id))
                             .status == "completed" and r)  # fmt: skip
    assert ended.id == begun.id and ended.output_text
    stalled = client.responses.create(model=MODEL, input="[sim stall-after-text]", background=True)
    assert client.responses.cancel(stalled.id).status == "cancelled"
    assert client.responses.retrieve(stalled.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(client.responses.create(model=MODEL, input="x").id)


def test_a_stream_in_the_background_is_resumed(client):
    stream = client.responses.create(
        model=MODEL, input="[sim deltas: 30]", background=True, stream=True
    )
    seen = []
    for event in stream:
        seen.append(event)
        if len(seen) == 7:
            break
    stream.close()
    again = client.responses.retrieve(
        seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number
    )
    seen.extend(again)
    numbers = [event.sequence_number for event in seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(seen)))
    assert seen[-1].type == "response.completed"
    deltas = "".join(e.delta for e in seen if e.type == "response.output_text.delta")
    assert deltas == seen[-1].response.output_text


def test_chats_are_kept(client):
    how = {"model": MODEL, "store": True}
    kept = [
        client.chat.completions.create(
            messages=[{"role": "user", "content": text}], metadata={"topic": text}, **how
        )
        for text in ("a", "b")
    ]
    client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "c"}])
    assert [chat.id for chat in client.chat.completions.list(limit=1)] == [c.id for c in kept]
    assert [c.id for c in client.chat.completions.list(metadata={"topic": "b"})] == [kept[1].id]
    chat = client.chat.completions.retrieve(kept[0].id)
    assert chat.choices[0].message.content == kept[0].choices[0].message.content
    messages = client.chat.completions.messages.list(kept[0].id)
    assert [message.content for message in messages] == ["a"]
    client.chat.completions.update(kept[0].id, metadata={"topic": "z"})
    assert [c.id for c in client.chat.completions.list(metadata={"topic": "z"})] == [kept[0].id]
    assert client.chat.completions.delete(kept[0].id).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(kept[0].id)


def test_without_the_setting_it_is_said_how(tmp_path):
    (tmp_path / "other").mkdir()
    with harness.relay(tmp_path / "other") as other:
        client = openai.OpenAI(base_url=other.url, api_key=other.token, max_retries=0)
        for how in ({"store": True}, {"previous_response_id": "resp_x"}, {"background": True}):
            with pytest.raises(openai.UnprocessableEntityError) as refused:
                client.responses.create(model=MODEL, input="x", **how)
            assert "--stateful" in refused.value.message or "background" in how
