//! The machine's clock is set wrong while the gateway runs, and right again: tokens are held to the time that is told, nobody
//! gets more than without, and once the clock is right everything goes on by itself.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::{Gateway, Settings, until};

/// Put before the C library: the clock of the day is as many seconds wrong as a file says. Other clocks are left alone.
const WRONG_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    const char *path = getenv("WRONG_CLOCK");
    if (result == 0 && clock == CLOCK_REALTIME && path) {
        char text[32] = {0};
        int file = open(path, O_RDONLY);
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
            close(file);
        }
    }
    return result;
}
"#;

/// Sets the clock of the gateway so many seconds off.
fn set_off(file: &Path, seconds: i64) {
    let new = file.with_extension("new");
    fs::write(&new, seconds.to_string()).expect("write the offset");
    fs::rename(&new, file).expect("replace the offset");
}

#[test]
fn a_clock_that_jumps_is_believed_and_forgiven() {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, library, offset) =
        (folder.path().join("clock.c"), folder.path().join("clock.so"), folder.path().join("offset"));
    fs::write(&source, WRONG_CLOCK).expect("write the source");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    assert!(compile.status().expect("a C compiler, as for aws-lc").success(), "the library does not compile");
    set_off(&offset, 0);
    let gateway = Gateway::start(
        Settings::new()
            .client("reader", &["read:logs-*"])
            .client("other", &["search:logs-*"])
            .environment("LD_PRELOAD", &library.to_string_lossy())
            .environment("WRONG_CLOCK", &offset.to_string_lossy()),
    );
    // What was counted against a rate in the future is forgotten as fast as a burst is permitted again: that takes seconds,
    // not as long as the clock was wrong.
    let search = |token: &str| {
        until("an answer that is not 429", Duration::from_secs(30), || {
            let status = gateway.http().with_token(token).get("/logs-*/_search?size=0").send().status;
            (status != 429).then_some(status)
        })
    };
    let first = gateway.token("reader");
    assert_eq!(search(&first), 200);

    // Two hours ahead: what was issued for one is over, what is issued now is good here.
    set_off(&offset, 7_200);
    assert_eq!(search(&first), 401);
    let status = search(&gateway.token("reader"));
    assert!(matches!(status, 200 | 502), "{status}");

    // Right again: all is as before.
    set_off(&offset, 0);
    assert_eq!(search(&first), 200);
    assert_eq!(search(&gateway.token("reader")), 200);
    for _ in 0..200 {
        assert_eq!(search(&first), 200);
    }

    // Two hours behind: what the gateway signs now has run out for the engine already.
    set_off(&offset, -7_200);
    let behind = gateway.token("other");
    let status = search(&behind);
    assert!(matches!(status, 200 | 502), "{status}");
    let status = search(&first);
    assert!(matches!(status, 200 | 401), "{status}");

    set_off(&offset, 0);
    assert_eq!(search(&first), 200);
    assert_eq!(search(&gateway.token("other")), 200);
    // It was issued two hours ago, as far as anybody can tell now.
    assert_eq!(search(&behind), 401);
    assert!(gateway.is_running());
}
