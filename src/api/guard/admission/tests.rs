//! How a credential may be written.

use http::HeaderValue;

use super::*;

#[test]
fn a_bearer_is_read_however_it_is_written() {
    let check = |value: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).expect("a value"));
        bearer(&headers).map(<[u8]>::to_vec)
    };
    assert_eq!(check(b"Bearer abc"), Some(b"abc".to_vec()));
    assert_eq!(check(b"bEARER   abc "), Some(b"abc".to_vec()));
    assert_eq!(check(b"Bearer \xc3\xa9"), Some(b"\xc3\xa9".to_vec()));
    assert_eq!(check(b"Basic abc"), None);
    assert_eq!(check(b"Bearer"), None);
    assert_eq!(check(b""), None);
    assert_eq!(bearer(&HeaderMap::new()), None);
}
