//! The report: what was measured, as it was measured.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Measurements, Profile, Proxy, Round, disturbance};
use crate::files;
use crate::progress::say;

const REPORT: &str = "benches/REPORT.md";
const FIGURES: &str = "benches/quick.json";

/// Prints the report and, when told to, puts it into the repository.
pub fn publish(measurements: &Measurements, write: bool) -> Result<()> {
    let text = render(measurements);
    print!("{text}");
    if write {
        let repository = files::repository();
        files::write(&repository.join(REPORT), text.as_bytes(), 0o644)?;
        let figures = serde_json::to_string_pretty(measurements)? + "\n";
        files::write(&repository.join(FIGURES), figures.as_bytes(), 0o644)?;
        say(&format!("written: {REPORT}, {FIGURES}"));
    }
    Ok(())
}

fn render(all: &Measurements) -> String {
    let mut out = String::from("# What a request costs\n\n");
    summary(all, &mut out);
    conditions(all, &mut out);
    rounds(all, &mut out);
    idle(all, &mut out);
    cycles(all, &mut out);
    out
}

// Writing to memory does not fail, here and below.

fn summary(all: &Measurements, out: &mut String) {
    let _ = writeln!(
        out,
        "Written by `cargo xtask bench --quick{}` on {}; the figures for machines are in `quick.json`. It needs `haproxy`, `wrk` and\n`taskset`, and for the last section `perf`.\n",
        if all.profile == Some(Profile::Release) { " --release" } else { "" },
        all.machine.date
    );
    let ratios = ratios(all);
    let _ = writeln!(
        out,
        "**The gateway with everything on takes {:.2} times the CPU time of HAProxy as a plain TLS proxy**: the median of {} rounds, in\neach of which both were measured ({:.2} to {:.2}).\n",
        middle(&ratios),
        ratios.len(),
        ratios.first().copied().unwrap_or(f64::NAN),
        ratios.last().copied().unwrap_or(f64::NAN),
    );
    out.push_str("| median | gateway | HAProxy |\n|---|---|---|\n");
    type Figure = fn(&Round) -> f64;
    let figures: [(&str, Figure, usize); 7] = [
        ("CPU time for each request, us", |round| round.cpu_us, 2),
        ("of it in the program", |round| round.user_us, 2),
        ("of it in the kernel", |round| round.system_us, 2),
        ("requests/s", |round| round.requests_per_second, 0),
        ("p50, us", |round| round.p50_us, 0),
        ("p99, us", |round| round.p99_us, 0),
        ("resident memory under load, MB", megabytes, 1),
    ];
    for (name, figure, digits) in figures {
        let (gateway, other) = (median(all, Proxy::Gateway, figure), median(all, Proxy::Haproxy, figure));
        let _ = writeln!(out, "| {name} | {gateway:.digits$} | {other:.digits$} |");
    }
    for memory in &all.idle {
        if memory.proxy == Proxy::Gateway
            && let Some(other) = all.idle.iter().find(|memory| memory.proxy == Proxy::Haproxy)
        {
            let _ = writeln!(
                out,
                "| kB for each idle connection | {:.1} | {:.1} |",
                memory.kb_per_connection, other.kb_per_connection
            );
        }
    }
    out.push('\n');
}

fn conditions(all: &Measurements, out: &mut String) {
    let (machine, versions, setup) = (&all.machine, &all.versions, &all.setup);
    let _ = writeln!(
        out,
        "## Conditions

- Machine: {}, {} cores, {} GB; {}, Linux {}.
- oauth4os {} ({}), {}. HAProxy {} with {}. {}.
- One core each: the proxy on core 0 with one worker, load and backend on core 1. TLS 1.3 in front ({}), the same P-256
  certificate for both, plain HTTP/1.1 behind, connections kept open on both sides.
- Gateway: {} Cedar policies, {} clients, {} distinct tokens of {} characters, each used before the measurement; a rate limit
  that is counted but never met; an audit line for each request, to a file.
- HAProxy: one thread; it passes everything on and decides nothing.
- Requests: `POST {}` with {} bytes of JSON, another token in each, {} connections, the very same for both. Answer: {} bytes of
  JSON from HAProxy's `http-request return`.
- {} s of load after {} s of warm-up, gateway and HAProxy in turn, each first every other time.
- CPU time is what the system accounts to the process with all its threads (`utime` and `stime` in `/proc/PID/stat`), divided by
  the requests `wrk` counted. Requests/s, p50 and p99 depend on what else runs on the machine. The last columns say
  how much of the proxy's core something else took: other programs, the kernel's own work, the host of a virtual machine. A shared
  cache and shared time make every request dearer, so rounds were added until {} had no more than {:.0} % of that, or patience
  ended; the {} least disturbed are counted, all are listed.
",
        machine.processor,
        machine.cores,
        machine.memory_gb,
        machine.system,
        machine.kernel,
        versions.oauth4os,
        match all.profile {
            Some(Profile::Quick) => "profile `quick`: optimised, without link-time optimisation",
            Some(Profile::Release) => "profile `release`",
            None => "a binary that was given",
        },
        versions.rustc,
        versions.haproxy,
        versions.haproxy_tls,
        versions.wrk,
        all.idle.iter().map(|memory| memory.cipher_suite.as_str()).max().unwrap_or_default(),
        setup.policies,
        setup.clients,
        setup.tokens,
        setup.token_characters,
        super::load::PATH,
        setup.request_body_bytes,
        setup.connections,
        setup.answer_body_bytes,
        setup.seconds,
        setup.warm_up_seconds,
        setup.rounds,
        super::QUIET * 100.0,
        setup.rounds,
    );
}

fn rounds(all: &Measurements, out: &mut String) {
    out.push_str("## Every round\n\n");
    out.push_str("| round | proxy | requests | errors | us/request | program | kernel | requests/s | p50 us | p99 us | RSS MB | others on the core | counted |\n");
    out.push_str("|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for round in &all.rounds {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} % | {} |",
            round.round,
            round.proxy,
            round.requests,
            round.errors,
            round.cpu_us,
            round.user_us,
            round.system_us,
            round.requests_per_second,
            round.p50_us,
            round.p99_us,
            megabytes(round),
            round.others_on_core * 100.0,
            if counts(all, round.round) { "yes" } else { "no" }
        );
    }
    out.push('\n');
}

fn idle(all: &Measurements, out: &mut String) {
    out.push_str(
        "## Idle connections\n\nA fresh process; TLS connections on which one request was answered, then nothing.\n\n",
    );
    out.push_str("| proxy | connections | RSS before, kB | RSS after, kB | kB each | cipher suite |\n|---|---|---|---|---|---|\n");
    for memory in &all.idle {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.1} | {} |",
            memory.proxy,
            memory.connections,
            memory.rss_before_kb,
            memory.rss_after_kb,
            memory.kb_per_connection,
            memory.cipher_suite
        );
    }
    out.push('\n');
}

fn cycles(all: &Measurements, out: &mut String) {
    let Some(cycles) = &all.cycles else { return };
    let _ = writeln!(
        out,
        "## Where the gateway's cycles go\n\n`perf record` on the gateway under the same load, {} samples. A function that was compiled into its caller counts there.\n",
        cycles.samples
    );
    out.push_str("| part | share |\n|---|---|\n");
    for (part, share) in &cycles.parts {
        let _ = writeln!(out, "| {part} | {:.1} % |", share * 100.0);
    }
    out.push_str("\n| function | share |\n|---|---|\n");
    for (function, share) in &cycles.functions {
        let _ = writeln!(out, "| `{}` | {:.1} % |", function.replace('|', "\\|"), share * 100.0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "kilobytes of one process are far below 2^52")]
fn megabytes(round: &Round) -> f64 {
    round.rss_kb as f64 / 1024.0
}

/// Whether a round is one of those the medians are taken of: as many as were asked for, the least disturbed ones.
fn counts(all: &Measurements, number: usize) -> bool {
    let own = disturbance(&all.rounds, number);
    let last = all.rounds.iter().map(|round| round.round).max().unwrap_or_default();
    let before = (1..=last).filter(|other| {
        let disturbance = disturbance(&all.rounds, *other);
        disturbance < own || (disturbance <= own && *other < number)
    });
    before.count() < all.setup.rounds
}

fn counted(all: &Measurements, proxy: Proxy) -> impl Iterator<Item = &Round> {
    all.rounds.iter().filter(move |round| round.proxy == proxy && counts(all, round.round))
}

/// The gateway's CPU time for each request by HAProxy's in the same round, in ascending order.
fn ratios(all: &Measurements) -> Vec<f64> {
    let mut ratios: Vec<f64> = counted(all, Proxy::Gateway)
        .filter_map(|gateway| {
            let other = counted(all, Proxy::Haproxy).find(|other| other.round == gateway.round)?;
            Some(gateway.cpu_us / other.cpu_us)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

fn median(all: &Measurements, proxy: Proxy, figure: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = counted(all, proxy).map(figure).collect();
    values.sort_by(f64::total_cmp);
    middle(&values)
}

/// The median of values in ascending order.
fn middle(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    match values {
        [] => f64::NAN,
        values if values.len() % 2 == 1 => values[middle],
        values => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_values() {
        assert!(middle(&[]).is_nan());
        assert_eq!(middle(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(middle(&[1.0, 2.0, 4.0, 9.0]), 3.0);
    }
}
