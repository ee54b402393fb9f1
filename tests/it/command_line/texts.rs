//! The whole of what the commands print, to the letter.

#![expect(clippy::too_many_lines, reason = "the texts are what they are")]

use expect_test::expect;

use super::Home;

#[test]
fn a_first_run_from_nothing_to_a_token() {
    let home = Home::new();
    home.check(
        "status",
        &expect![[r#"
            AIRelays Status

            Relay
              Config file:       ~/.config/airelays/config.toml
              Config exists:     no
              Base URL:          http://127.0.0.1:8080/v1
              Network scope:     loopback
              Data dir:          ~/.airelays
              Logs dir:          ~/.airelays/logs
              Bearer auth:       enabled
              Relay token:       missing
              Token source:      not set
              Token file:        ~/.airelays/relay-token
              Rate limit:        120/min + burst 40
              Concurrent/IP:     8

            Upstream Session
              Ready:             no
              Authenticated:     no
              Account bound:     no
              Email:             not set
              Plan:              not set
              Account ID:        not set
              Last refresh:      not set
              Storage mode:      auto
              Auth store:        ~/.airelays/auth.json

            Client Setup
              Base URL:          http://127.0.0.1:8080/v1
              Models URL:        http://127.0.0.1:8080/v1/models
              Bearer auth:       required
              Token file:        ~/.airelays/relay-token
              Auth header:       Authorization: Bearer <AIRelays token>
              Reveal token:      airelays token show
              Rotate token:      airelays token rotate

            Next Steps
              1. airelays init
              2. airelays login
        "#]],
    );
    home.check(
        "token show",
        &expect![[r#"
        AIRelays Token

        Relay
          Relay token:       missing
          Token source:      not set
          Token file:        ~/.airelays/relay-token

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/.airelays/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Reveal token:      airelays token show
          Rotate token:      airelays token rotate

        Next Steps
          1. airelays init
          2. airelays token rotate
    "#]],
    );
    home.check(
        "init",
        &expect![[r#"
        AIRelays Init

        Relay
          App:               AIRelays
          Config file:       ~/.config/airelays/config.toml (created)
          Relay token:       created
          Token source:      file
          Token file:        ~/.airelays/relay-token
          Client base URL:   http://127.0.0.1:8080/v1

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/.airelays/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Relay token:       <token>
          Export key:        OPENAI_API_KEY=<token>
          Rotate token:      airelays token rotate

        Next Steps
          1. airelays login
          2. airelays serve --host 127.0.0.1 --port 8080
    "#]],
    );
    home.check(
        "init",
        &expect![[r#"
        AIRelays Init

        Relay
          App:               AIRelays
          Config file:       ~/.config/airelays/config.toml (existing)
          Relay token:       existing
          Token source:      file
          Token file:        ~/.airelays/relay-token
          Client base URL:   http://127.0.0.1:8080/v1

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/.airelays/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Reveal token:      airelays token show
          Rotate token:      airelays token rotate

        Next Steps
          1. airelays login
          2. airelays serve --host 127.0.0.1 --port 8080
    "#]],
    );
    home.check(
        "init --show-token",
        &expect![[r#"
        AIRelays Init

        Relay
          App:               AIRelays
          Config file:       ~/.config/airelays/config.toml (existing)
          Relay token:       existing
          Token source:      file
          Token file:        ~/.airelays/relay-token
          Client base URL:   http://127.0.0.1:8080/v1

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/.airelays/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Relay token:       <token>
          Export key:        OPENAI_API_KEY=<token>
          Rotate token:      airelays token rotate

        Next Steps
          1. airelays login
          2. airelays serve --host 127.0.0.1 --port 8080
    "#]],
    );
    home.check(
        "token show",
        &expect![[r#"
        AIRelays Token

        Relay
          Relay token:       present
          Token source:      file
          Token file:        ~/.airelays/relay-token

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/.airelays/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Relay token:       <token>
          Export key:        OPENAI_API_KEY=<token>
          Rotate token:      airelays token rotate
    "#]],
    );
    let before = home.read(".airelays/relay-token");
    home.check(
        "token rotate",
        &expect![[r#"
        AIRelays Token Rotation

        Relay
          Relay token:       rotated
          Token source:      file
          Token file:        ~/.airelays/relay-token

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/.airelays/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Relay token:       <token>
          Export key:        OPENAI_API_KEY=<token>
          Rotate token:      airelays token rotate

        Next Steps
          1. Update clients to use the new token
    "#]],
    );
    let after = home.read(".airelays/relay-token");
    assert_ne!(before, after);
    assert_eq!(after.trim().len(), 43);
}

#[test]
fn an_open_relay_has_no_token() {
    let home = Home::new();
    home.check(
        "init --no-auth",
        &expect![[r#"
        AIRelays Init

        Relay
          App:               AIRelays
          Config file:       ~/.config/airelays/config.toml (created)
          Bearer auth:       disabled
          Client base URL:   http://127.0.0.1:8080/v1

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       disabled
          Access mode:       open
          Client key:        optional placeholder only
          SDK note:          Any non-empty placeholder works when an SDK insists on an API key.

        Next Steps
          1. airelays login
          2. airelays serve --host 127.0.0.1 --port 8080 --no-auth
    "#]],
    );
    assert!(!home.path(".airelays/relay-token").exists());
    home.check(
        "status",
        &expect![[r#"
            AIRelays Status

            Relay
              Config file:       ~/.config/airelays/config.toml
              Config exists:     yes
              Base URL:          http://127.0.0.1:8080/v1
              Network scope:     loopback
              Data dir:          ~/.airelays
              Logs dir:          ~/.airelays/logs
              Bearer auth:       disabled
              Relay token:       not required
              Rate limit:        120/min + burst 40
              Concurrent/IP:     8

            Upstream Session
              Ready:             no
              Authenticated:     no
              Account bound:     no
              Email:             not set
              Plan:              not set
              Account ID:        not set
              Last refresh:      not set
              Storage mode:      auto
              Auth store:        ~/.airelays/auth.json

            Client Setup
              Base URL:          http://127.0.0.1:8080/v1
              Models URL:        http://127.0.0.1:8080/v1/models
              Bearer auth:       disabled
              Access mode:       open
              Client key:        optional placeholder only
              SDK note:          Any non-empty placeholder works when an SDK insists on an API key.

            Settings
              security.require_bearer_auth: false (~/.config/airelays/config.toml, line 92)
              security.auto_generate_bearer_token: false (~/.config/airelays/config.toml, line 96)

            Next Steps
              1. airelays login
        "#]],
    );
    home.check(
        "token show",
        &expect![[r#"
        AIRelays Token

        Relay
          Relay token:       not required

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       disabled
          Access mode:       open
          Client key:        optional placeholder only
          SDK note:          Any non-empty placeholder works when an SDK insists on an API key.
    "#]],
    );
    home.check(
        "token rotate",
        &expect![[r#"
            AIRelays Token Rotation

            Relay
              Relay token:       rotated
              Token source:      file
              Token file:        ~/.airelays/relay-token

            Client Setup
              Base URL:          http://127.0.0.1:8080/v1
              Models URL:        http://127.0.0.1:8080/v1/models
              Bearer auth:       disabled
              Access mode:       open
              Client key:        optional placeholder only
              SDK note:          Any non-empty placeholder works when an SDK insists on an API key.

            Notes
              Note:              Bearer auth is disabled: the new token is not asked for.
        "#]],
    );
}

#[test]
fn init_does_not_claim_what_it_did_not_write() {
    let home = Home::new();
    home.run("init");
    let before = home.read(".config/airelays/config.toml");
    let data = home.path("data");
    let text = home.says(&format!("init --no-auth --data-dir {}", data.display()));
    expect![[r#"
        AIRelays Init

        Relay
          App:               AIRelays
          Config file:       ~/.config/airelays/config.toml (existing)
          Relay token:       missing
          Token source:      not set
          Token file:        ~/data/relay-token
          Client base URL:   http://127.0.0.1:8080/v1

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/data/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Reveal token:      airelays token show --data-dir ~/data
          Rotate token:      airelays token rotate --data-dir ~/data

        Notes
          Note:              The config file was left as it is and still requires the relay token. Run `airelays init --no-auth --force --data-dir ~/data` to rewrite it, or `airelays serve --host 127.0.0.1 --port 8080 --data-dir ~/data --no-auth` to open the relay for one run.
          Note:              The config file was left as it is: it does not hold what --data-dir said. Add `--force` to rewrite it.

        Next Steps
          1. airelays login --data-dir ~/data
          2. airelays serve --host 127.0.0.1 --port 8080 --data-dir ~/data
    "#]].assert_eq(&text);
    assert_eq!(home.read(".config/airelays/config.toml"), before);
    home.check(
        "init --no-auth --force",
        &expect![[r#"
        AIRelays Init

        Relay
          App:               AIRelays
          Config file:       ~/.config/airelays/config.toml (rewritten)
          Bearer auth:       disabled
          Client base URL:   http://127.0.0.1:8080/v1

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       disabled
          Access mode:       open
          Client key:        optional placeholder only
          SDK note:          Any non-empty placeholder works when an SDK insists on an API key.

        Next Steps
          1. airelays login
          2. airelays serve --host 127.0.0.1 --port 8080 --no-auth
    "#]],
    );
    assert!(home.read(".config/airelays/config.toml").contains("\nrequire_bearer_auth = false\n"));
}

#[test]
fn json_documents_keep_their_keys_and_their_order() {
    let home = Home::new();
    home.check(
        "init --json",
        &expect![[r#"
        {
          "app_name": "AIRelays",
          "config_path": "~/.config/airelays/config.toml",
          "config_created": true,
          "bearer_token_file": "~/.airelays/relay-token",
          "bearer_token_created": true,
          "bearer_token_source": "file",
          "client_api_key": "<token>",
          "relay_token": "<token>",
          "client": {
            "base_url": "http://127.0.0.1:8080/v1",
            "models_url": "http://127.0.0.1:8080/v1/models",
            "requires_bearer_auth": true,
            "authorization_header": "Authorization: Bearer <AIRelays token>",
            "token_file": "~/.airelays/relay-token",
            "reveal_token_command": "airelays token show",
            "rotate_token_command": "airelays token rotate",
            "client_api_key": "<token>",
            "relay_token": "<token>",
            "openai_api_key_env": "OPENAI_API_KEY=<token>"
          },
          "next_steps": [
            "airelays login",
            "airelays serve --host 127.0.0.1 --port 8080"
          ],
          "notes": []
        }
    "#]],
    );
    home.check(
        "token show --json",
        &expect![[r#"
        {
          "bearer_token_present": true,
          "bearer_token_file": "~/.airelays/relay-token",
          "bearer_token_source": "file",
          "client_api_key": "<token>",
          "relay_token": "<token>",
          "client": {
            "base_url": "http://127.0.0.1:8080/v1",
            "models_url": "http://127.0.0.1:8080/v1/models",
            "requires_bearer_auth": true,
            "authorization_header": "Authorization: Bearer <AIRelays token>",
            "token_file": "~/.airelays/relay-token",
            "reveal_token_command": "airelays token show",
            "rotate_token_command": "airelays token rotate",
            "client_api_key": "<token>",
            "relay_token": "<token>",
            "openai_api_key_env": "OPENAI_API_KEY=<token>"
          },
          "next_steps": []
        }
    "#]],
    );
    home.check(
        "token rotate --json",
        &expect![[r#"
        {
          "bearer_token_file": "~/.airelays/relay-token",
          "bearer_token_source": "file",
          "client_api_key": "<token>",
          "relay_token": "<token>",
          "client": {
            "base_url": "http://127.0.0.1:8080/v1",
            "models_url": "http://127.0.0.1:8080/v1/models",
            "requires_bearer_auth": true,
            "authorization_header": "Authorization: Bearer <AIRelays token>",
            "token_file": "~/.airelays/relay-token",
            "reveal_token_command": "airelays token show",
            "rotate_token_command": "airelays token rotate",
            "client_api_key": "<token>",
            "relay_token": "<token>",
            "openai_api_key_env": "OPENAI_API_KEY=<token>"
          },
          "in_use": true,
          "notes": []
        }
    "#]],
    );
    home.run("init --force --no-auth");
    home.check(
        "init --json",
        &expect![[r#"
        {
          "app_name": "AIRelays",
          "config_path": "~/.config/airelays/config.toml",
          "config_created": false,
          "bearer_token_file": "~/.airelays/relay-token",
          "bearer_token_created": false,
          "bearer_token_source": null,
          "client_api_key": null,
          "relay_token": null,
          "client": {
            "base_url": "http://127.0.0.1:8080/v1",
            "models_url": "http://127.0.0.1:8080/v1/models",
            "requires_bearer_auth": false,
            "api_key_note": "Any non-empty placeholder works when an SDK insists on an API key."
          },
          "next_steps": [
            "airelays login",
            "airelays serve --host 127.0.0.1 --port 8080 --no-auth"
          ],
          "notes": []
        }
    "#]],
    );
    home.write(".airelays/relay-token", "fixed-token");
    let status = home.says("status --json");
    let (head, settings) = status.split_once("  \"settings\": {\n").expect("settings");
    expect![[r#"
        {
          "relay": {
            "app_name": "AIRelays",
            "config_path": "~/.config/airelays/config.toml",
            "config_exists": true,
            "host": "127.0.0.1",
            "port": 8080,
            "auth_storage_mode": "auto",
            "data_dir": "~/.airelays",
            "auth_file": "~/.airelays/auth.json",
            "logs_dir": "~/.airelays/logs",
            "browser_open": false,
            "require_bearer_auth": false,
            "bearer_token_file": "~/.airelays/relay-token",
            "bearer_token_present": true,
            "bearer_token_source": "file",
            "bearer_token_fingerprint": "648f312cf893",
            "auto_generate_bearer_token": false,
            "rate_limit_per_minute": 120,
            "rate_limit_burst": 40,
            "concurrent_requests_per_ip": 8,
            "failed_auth_window_seconds": 300,
            "failed_auth_max_attempts": 8,
            "failed_auth_block_seconds": 900,
            "trust_x_forwarded_for": false,
            "max_upload_bytes": 33554432,
            "max_total_upload_bytes": 268435456,
            "client_base_url": "http://127.0.0.1:8080/v1",
            "bearer_token_problem": null,
            "network_scope": "private",
            "effective_network_scope": "loopback",
            "unix_socket": null
          },
          "auth": {
            "authenticated": false,
            "credentials_present": false,
            "account_bound": false,
            "ready_for_requests": false,
            "mode": null,
            "email": null,
            "plan_type": null,
            "account_id": null,
            "bound_account_id": null,
            "has_openai_api_key": false,
            "last_refresh": null,
            "stored_in": null,
            "auth_store_path": "~/.airelays/auth.json",
            "keyring_service": "AIRelays Auth",
            "storage_mode": "auto",
            "problem": null
          },
          "client": {
            "base_url": "http://127.0.0.1:8080/v1",
            "models_url": "http://127.0.0.1:8080/v1/models",
            "requires_bearer_auth": false,
            "api_key_note": "Any non-empty placeholder works when an SDK insists on an API key."
          },
          "next_steps": [
            "airelays login"
          ],
    "#]]
    .assert_eq(head);
    let setting = "    \"security.require_bearer_auth\": {\n      \"value\": false,\n      \
                   \"source\": \"~/.config/airelays/config.toml, line ";
    assert!(settings.contains(setting), "{settings}");
}

#[test]
fn a_rotated_token_that_is_not_used_is_said_to_be_so() {
    let home = Home::new().set("AIRELAYS_BEARER_TOKEN", "from-the-variable");
    home.check("token rotate", &expect![[r#"
        AIRelays Token Rotation

        Relay
          Relay token:       rotated
          Token source:      env
          Token file:        ~/.airelays/relay-token

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/.airelays/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Relay token:       <token>
          Export key:        OPENAI_API_KEY=<token>
          Rotate token:      airelays token rotate

        Notes
          Note:              The token in use comes from AIRELAYS_BEARER_TOKEN. The new one was written to the token file and is not used until AIRELAYS_BEARER_TOKEN is unset.

        Next Steps
          1. Unset AIRELAYS_BEARER_TOKEN and start the relay anew
          2. Update clients to use the new token
    "#]]);
    let document = home.json("token rotate --json");
    assert_eq!(document["bearer_token_source"], "env");
    assert_eq!(document["in_use"], false);
    assert_eq!(home.json("token show --json")["relay_token"], "from-the-variable");
    home.check(
        "init",
        &expect![[r#"
        AIRelays Init

        Relay
          App:               AIRelays
          Config file:       ~/.config/airelays/config.toml (created)
          Relay token:       existing
          Token source:      env
          Token file:        ~/.airelays/relay-token
          Client base URL:   http://127.0.0.1:8080/v1

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/.airelays/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Reveal token:      airelays token show
          Rotate token:      airelays token rotate

        Next Steps
          1. airelays login
          2. airelays serve --host 127.0.0.1 --port 8080
    "#]],
    );
}

#[test]
fn a_stored_login_is_shown_and_its_tokens_are_not() {
    let home = Home::new();
    // {"email":"me@example.com","https://api.openai.com/auth":{"chatgpt_plan_type":"plus","chatgpt_account_id":"acc-1"}}
    let claims = "eyJlbWFpbCI6Im1lQGV4YW1wbGUuY29tIiwiaHR0cHM6Ly9hcGkub3BlbmFpLmNvbS9hdXRoIjp7ImNoYXRncHRfcGxhbl90eXBlIjoicGx1cyIsImNoYXRncHRfYWNjb3VudF9pZCI6ImFjYy0xIn19";
    home.write(".airelays/auth.json", &login(claims));
    home.run("init");
    home.check(
        "status",
        &expect![[r#"
            AIRelays Status

            Relay
              Config file:       ~/.config/airelays/config.toml
              Config exists:     yes
              Base URL:          http://127.0.0.1:8080/v1
              Network scope:     loopback
              Data dir:          ~/.airelays
              Logs dir:          ~/.airelays/logs
              Bearer auth:       enabled
              Relay token:       present
              Token source:      file
              Token file:        ~/.airelays/relay-token
              Rate limit:        120/min + burst 40
              Concurrent/IP:     8

            Upstream Session
              Ready:             yes
              Authenticated:     yes
              Account bound:     yes
              Email:             me@example.com
              Plan:              plus
              Account ID:        acc-1
              Last refresh:      2026-01-02T03:04:05+00:00
              Storage mode:      auto (not encrypted)
              Auth store:        ~/.airelays/auth.json

            Client Setup
              Base URL:          http://127.0.0.1:8080/v1
              Models URL:        http://127.0.0.1:8080/v1/models
              Bearer auth:       required
              Token file:        ~/.airelays/relay-token
              Auth header:       Authorization: Bearer <AIRelays token>
              Reveal token:      airelays token show
              Rotate token:      airelays token rotate

            Next Steps
              1. airelays serve --host 127.0.0.1 --port 8080
        "#]],
    );
    let auth = &home.json("status --json")["auth"];
    assert_eq!(auth["mode"], "chatgpt");
    assert_eq!(auth["ready_for_requests"], true);
    for line in ["status", "status --json"] {
        let text = home.says(line);
        assert!(!text.contains("\"rt\"") && !text.contains(claims), "{text}");
    }
}

/// An identity token for `claims`, which are base64url already.
fn login(claims: &str) -> String {
    format!(
        r#"{{"OPENAI_API_KEY":null,"bound_account_id":"acc-1","tokens":{{"id_token":"e30.{claims}.x","access_token":"at","refresh_token":"rt"}},"last_refresh":"2026-01-02T03:04:05+00:00"}}"#
    )
}
