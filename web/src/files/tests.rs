//! A directory with a secret beside it, asked for by every way that leads there.

use std::{fs, os::unix::fs::symlink, path::Path};

use axum::{
    body::Body,
    http::{HeaderMap, Request},
};

use crate::{
    WebConfig,
    testing::{Answer, Server, ask},
};

const SECRET: &str = "planted secret";

struct Site {
    server: Server,
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret.txt"), SECRET).unwrap();
        let root = dir.path().join("html");
        fs::create_dir_all(root.join("sub/empty")).unwrap();
        fs::write(root.join("hello.txt"), "0123456789").unwrap();
        fs::write(root.join("sub/index.html"), "<p>sub").unwrap();
        fs::write(root.join(".hidden"), SECRET).unwrap();
        symlink("../secret.txt", root.join("out.txt")).unwrap();
        symlink(dir.path().join("secret.txt"), root.join("absolute.txt")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("hello.txt", root.join("inside.txt")).unwrap();
        let server = Server::with(WebConfig { dir: Some(root), ..WebConfig::default() });
        Self { server, dir }
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("html")
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
        ask(&self.server.http, "127.0.0.1:1", request.body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn files_are_served_with_their_types() {
    let site = Site::new();
    let file = site.get("/hello.txt", &[]).await;
    assert_eq!((file.status, file.text(), file.header("content-type")), (200, "0123456789", "text/plain; charset=utf-8"));
    assert_eq!((file.header("content-length"), file.header("x-content-type-options")), ("10", "nosniff"));
    assert_eq!(site.get("/inside.txt", &[]).await.text(), "0123456789", "a link that stays inside");
    assert_eq!(site.get("/sub/", &[]).await.text(), "<p>sub");
    let moved = site.get("/sub", &[]).await;
    assert_eq!((moved.status, moved.header("location")), (301, "/sub/"));
    let head = Request::head("/hello.txt").body(Body::empty()).unwrap();
    let head = ask(&site.server.http, "127.0.0.1:1", head).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "10", 0));
    let post = Request::post("/hello.txt").body(Body::empty()).unwrap();
    assert_ne!(ask(&site.server.http, "127.0.0.1:1", post).await.status, 200);
}

#[tokio::test]
async fn a46_nothing_outside_of_the_directory_is_ever_read() {
    let site = Site::new();
    let absent = site.get("/absent.txt", &[]).await;
    assert_eq!(absent.status, 404);
    let one = ["/out.txt", "/absolute.txt", "/up", "/up/", "/secret.txt", "/.hidden", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt"];
    let more = ["/..", "/%2e%2e", "/%252e%252e", "/hello.txt%00", "/hello.txt/", "/a%5c..%5c..%5csecret.txt"];
    for path in one.into_iter().chain(more) {
        let answer = site.get(path, &[]).await;
        assert_eq!((answer.status, &answer.body), (404, &absent.body), "{path}");
        assert_eq!(comparable(&answer.headers), comparable(&absent.headers), "{path}");
    }
    // Two parts are a stream's path: the same for streams that are not there.
    let absent = site.get("/sub/absent.txt", &[]).await;
    let two = ["/up/secret.txt", "/../secret.txt", "/%2e%2e/secret.txt", "/%252e%252e/secret.txt", "/sub/empty", "/sub/.hidden"];
    for path in two {
        let answer = site.get(path, &[]).await;
        assert_eq!((answer.status, &answer.body), (404, &absent.body), "{path}");
        assert_eq!(comparable(&answer.headers), comparable(&absent.headers), "{path}");
    }
}

fn comparable(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect()
}

#[tokio::test]
async fn a71_a_directory_that_is_swapped_for_a_link_shows_nothing_of_its_target() {
    let site = Site::new();
    let sub = site.root().join("sub");
    fs::rename(&sub, site.root().join("was")).unwrap();
    symlink(site.dir.path(), &sub).unwrap();
    assert_eq!(site.get("/sub/secret.txt", &[]).await.status, 404);
    fs::remove_file(&sub).unwrap();
    fs::create_dir(&sub).unwrap();
    fs::create_dir(sub.join("index.html")).unwrap();
    assert_eq!(site.get("/sub/", &[]).await.status, 404, "a directory by the name of a file");
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let site = Site::new();
    let first = site.get("/hello.txt", &[]).await;
    let (etag, modified) = (first.header("etag"), first.header("last-modified"));
    for headers in [
        vec![("if-none-match", etag)],
        vec![("if-none-match", "\"x\", *")],
        vec![("if-modified-since", modified)],
        vec![("if-none-match", etag), ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT")],
    ] {
        let again = site.get("/hello.txt", &headers).await;
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, etag), "{headers:?}");
    }
    assert_eq!(site.get("/hello.txt", &[("if-none-match", "\"x\""), ("if-modified-since", modified)]).await.status, 200);
    assert_eq!(site.get("/hello.txt", &[("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT")]).await.status, 200);
    fs::write(site.root().join("hello.txt"), "other").unwrap();
    assert_eq!(site.get("/hello.txt", &[("if-none-match", etag)]).await.text(), "other");
}

#[tokio::test]
async fn a_part_of_a_file_is_206_and_one_that_is_not_there_416() {
    let site = Site::new();
    let part = site.get("/hello.txt", &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.text(), part.header("content-range")), (206, "234", "bytes 2-4/10"));
    let etag = part.header("etag").to_owned();
    let none = site.get("/hello.txt", &[("range", "bytes=10-")]).await;
    assert_eq!((none.status, none.header("content-range")), (416, "bytes */10"));
    let several = site.get("/hello.txt", &[("range", "bytes=0-1,3-4")]).await;
    assert_eq!((several.status, several.body.len()), (200, 10));
    assert_eq!(site.get("/hello.txt", &[("range", "bytes=2-4"), ("if-range", &etag)]).await.status, 206);
    assert_eq!(site.get("/hello.txt", &[("range", "bytes=2-4"), ("if-range", "\"other\"")]).await.status, 200);
}

#[tokio::test]
async fn pages_give_way_to_files_and_the_api_does_not() {
    let site = Site::new();
    let built_in = site.get("/", &[]).await;
    assert!(built_in.status == 200 && built_in.text().contains("<html"));
    fs::write(site.root().join("index.html"), "<p>mine").unwrap();
    assert_eq!(site.get("/", &[]).await.text(), "<p>mine");
    let shadow = |path: &str, dir: &Path| {
        fs::create_dir_all(dir.join(Path::new(path).parent().unwrap())).unwrap();
        fs::write(dir.join(path), "shadow").unwrap();
    };
    for path in ["api/v1/versions", "assets/app.js", "assets/other.js", "rtc/v1/whip"] {
        shadow(path, &site.root());
        assert!(!site.get(&format!("/{path}"), &[]).await.text().contains("shadow"), "{path}");
    }
    shadow("live/clip.mp4", &site.root());
    let clip = site.get("/live/clip.mp4", &[]).await;
    assert_eq!((clip.status, clip.header("content-type")), (200, "video/mp4"));
    assert_eq!(clip.header("access-control-allow-origin"), "*");
}
