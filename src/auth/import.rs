//! Taking over the login of another program: its tokens, and nothing else of its file.
//!
//! **Invariant:** the other program's file is read and never written.
//!
//! Not here: telling the owner what sharing a login means (`cli`), saving it (`sign_in`).

use std::path::Path;

use super::{
    file::{self, ReadError},
    stored::Record,
};
use crate::credential::{AccountId, Unusable};

/// Why the other login is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("There is no login to import at {0}")]
    Missing(String),
    #[error("The login at {path} cannot be imported")]
    Read { path: String, source: ReadError },
    #[error("The login at {path} cannot be used: {why}")]
    Unusable { path: String, why: Unusable },
    #[error("The login at {0} has no refresh token and would soon end")]
    NoRefresh(String),
    #[error("The login at {path} is not of workspace id {wanted}")]
    Workspace { path: String, wanted: AccountId },
}

/// The login at `from` as one that `issuer` made for us.
///
/// # Errors
///
/// When there is none, or none that could be kept alive.
pub fn read(
    from: &Path,
    issuer: &str,
    wanted: Option<&AccountId>,
) -> Result<(Record, AccountId), ImportError> {
    let path = from.display().to_string();
    let found = file::read_record(from)
        .map_err(|source| ImportError::Read { path: path.clone(), source })?
        .ok_or_else(|| ImportError::Missing(path.clone()))?;
    let credential = found.tokens.credential(found.bound_account_id.as_ref());
    let account =
        credential.map_err(|why| ImportError::Unusable { path: path.clone(), why })?.account_id;
    if found.tokens.refresh.is_none() {
        return Err(ImportError::NoRefresh(path));
    }
    match wanted {
        Some(wanted) if *wanted != account => {
            Err(ImportError::Workspace { path, wanted: wanted.clone() })
        }
        Some(_) | None => Ok((found.taken_over(&account, issuer), account)),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

    use super::*;
    use crate::private_file;

    fn jwt(account: &str) -> String {
        let payload =
            format!(r#"{{"https://api.openai.com/auth":{{"chatgpt_account_id":"{account}"}}}}"#);
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload))
    }

    fn import(content: &str, wanted: Option<&str>) -> Result<Record, String> {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("auth.json");
        private_file::replace(&path, content.as_bytes()).expect("written");
        let wanted = wanted.map(AccountId::new);
        let imported = read(&path, "https://issuer.example", wanted.as_ref());
        let left = std::fs::read_to_string(&path).expect("still there");
        assert_eq!(left, content, "it is not written to");
        imported.map(|(record, _)| record).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            let text = format!("{error}{cause}");
            text.replace(path.to_str().expect("text"), "FILE")
        })
    }

    #[test]
    fn tokens_are_taken_over_and_nothing_else() {
        let jwt = jwt("acct");
        let content = format!(
            r#"{{"auth_mode":"chatgpt","OPENAI_API_KEY":"sk-1","tokens":{{"id_token":{{"raw_jwt":"{jwt}"}},
            "access_token":"a","refresh_token":"r","account_id":null}},"last_refresh":"2026-10-01T12:34:56.789Z"}}"#
        );
        let record = import(&content, Some("acct")).expect("imported");
        let json = String::from_utf8(record.write().expect("written").to_vec()).expect("text");
        expect_test::expect![[r#"
            {
              "OPENAI_API_KEY": null,
              "bound_account_id": "acct",
              "tokens": {
                "id_token": "JWT",
                "access_token": "a",
                "refresh_token": "r",
                "account_id": "acct"
              },
              "last_refresh": "2026-10-01T12:34:56.789Z",
              "airelays_issuer": "https://issuer.example"
            }
        "#]]
        .assert_eq(&json.replace(&jwt, "JWT"));
        let other = import(&content, Some("other")).map(drop);
        assert_eq!(other, Err("The login at FILE is not of workspace id other".to_owned()));
    }

    #[test]
    fn what_could_not_be_kept_alive_is_refused() {
        for (content, expected) in [
            ("[", "The login at FILE cannot be imported: the stored login is not a JSON object"),
            (
                r#"{"OPENAI_API_KEY":"sk-1"}"#,
                "The login at FILE cannot be used: there is neither an access token nor a refresh token",
            ),
            (
                r#"{"tokens":{"access_token":"a","refresh_token":"r"}}"#,
                "The login at FILE cannot be used: the tokens belong to no known account",
            ),
            (
                r#"{"tokens":{"access_token":"a","account_id":"acct"}}"#,
                "The login at FILE has no refresh token and would soon end",
            ),
        ] {
            assert_eq!(import(content, None).map(drop), Err(expected.to_owned()), "{content}");
        }
        let nowhere = read(Path::new("/nowhere/auth.json"), "", None);
        assert!(matches!(nowhere, Err(ImportError::Missing(_))));
    }
}
