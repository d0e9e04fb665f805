//! A gateway whose clock of the day is wrong.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::settings::Settings;

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

/// How wrong the clock of a gateway is, while it runs.
pub struct WrongClock {
    folder: TempDir,
}

impl WrongClock {
    /// A clock that is right at first.
    ///
    /// # Panics
    /// When the library does not compile.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().expect("a folder") };
        let source = clock.folder.path().join("clock.c");
        fs::write(&source, WRONG_CLOCK).expect("write the source");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(clock.library()).arg(&source).arg("-ldl");
        assert!(compile.status().expect("a C compiler, as for aws-lc").success(), "the library does not compile");
        clock.set_off(0);
        clock
    }

    /// Gives it to a gateway.
    #[must_use]
    pub fn of(&self, settings: Settings) -> Settings {
        settings
            .environment("LD_PRELOAD", &self.library().to_string_lossy())
            .environment("WRONG_CLOCK", &self.offset().to_string_lossy())
    }

    /// Sets the clock so many seconds off.
    ///
    /// # Panics
    /// When its file cannot be replaced.
    pub fn set_off(&self, seconds: i64) {
        let new = self.folder.path().join("offset.new");
        fs::write(&new, seconds.to_string()).expect("write the offset");
        fs::rename(&new, self.offset()).expect("replace the offset");
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

impl Default for WrongClock {
    fn default() -> Self {
        Self::new()
    }
}
