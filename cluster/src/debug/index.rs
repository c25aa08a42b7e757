//! The first page: all machines, with their resource usage.

use std::collections::HashMap;
use std::fmt::Write;

use crate::debug::spark;
use crate::fleet::inspector::{Inspector, MachineReport};
use crate::identity::MachineName;
use crate::markup::escape;
use crate::observe::usage::Series;

/// The most machines on the page. The others are in `/debug/machines`.
const ROWS_MAX: usize = 1000;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta http-equiv=\"refresh\" content=\"5\"><title>bigslice</title><style>\
body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;color:#222}\
table{border-collapse:collapse}th,td{padding:.2em .8em;text-align:right;white-space:nowrap}\
th{border-bottom:1px solid #999;font-weight:600}td{border-bottom:1px solid #eee}\
th:first-child,td:first-child,td.text{text-align:left}td.text{white-space:normal}\
.lost{color:#b00}.doubt{color:#b60}a{color:#06c}svg{vertical-align:middle}\
</style></head><body>\n";

/// The page.
pub(crate) fn html(inspector: &Inspector) -> String {
    let machines = inspector.machines();
    let series = inspector.series();
    let series: HashMap<&MachineName, &Series> =
        series.iter().map(|series| (series.machine(), series)).collect();
    let mut html = HEAD.to_owned();
    html.push_str(&heading(inspector, &machines));
    html.push_str(
        "<table><tr><th>machine</th><th>state</th><th>process</th><th>processor</th><th></th>\
         <th>memory</th><th></th><th>free on host</th><th>free on disk</th><th>load</th>\
         <th>received</th><th>sent</th></tr>\n",
    );
    for machine in machines.iter().take(ROWS_MAX) {
        html.push_str(&row(machine, series.get(&machine.name).copied()));
    }
    html.push_str("</table>\n");
    if let Some(more) = machines.len().checked_sub(ROWS_MAX + 1) {
        html.push_str(&format!("<p>and {} more</p>\n", more + 1));
    }
    html.push_str(&links(inspector));
    html.push_str("</body></html>\n");
    html
}

fn heading(inspector: &Inspector, machines: &[MachineReport]) -> String {
    let Some(state) = inspector.state() else {
        return "<h1>bigslice</h1>\n<p>This process, without machines.</p>\n".to_owned();
    };
    let stats = state.registry.stats(state.target());
    let lost = machines.iter().filter(|machine| machine.reason.is_some()).count();
    format!(
        "<h1>bigslice</h1>\n<p>Session {}: {} of {} machines run ({}), {} starting, {} on probation; \
         {} came up, {lost} were lost, {} released.</p>\n",
        state.enroler.authority.session(),
        stats.running,
        stats.wanted,
        escape(state.system.name()),
        stats.starting,
        stats.on_probation,
        stats.started_total,
        stats.released_total,
    )
}

fn row(machine: &MachineReport, series: Option<&Series>) -> String {
    let class = match (&machine.reason, machine.trusted) {
        (Some(_), _) => " class=\"lost\"",
        (None, false) => " class=\"doubt\"",
        (None, true) => "",
    };
    let name = escape(machine.name.as_str());
    let state = match (&machine.reason, machine.trusted || machine.state != "running") {
        (Some(reason), _) => format!("lost: {}", escape(reason)),
        (None, true) => escape(&machine.state),
        (None, false) => "on probation".to_owned(),
    };
    let pid = machine.pid.map(|pid| pid.to_string()).unwrap_or_default();
    let mut row = format!(
        "<tr{class}><td><a href=\"/debug/logs?machine={name}\">{name}</a></td>\
         <td class=\"text\">{state}</td><td>{pid}</td>"
    );
    // Writing to a string does not fail.
    let _ = match (&machine.usage, series) {
        (Some(usage), Some(series)) => {
            let busy = series.busy();
            let now = busy.last().copied().unwrap_or(0.0) * f64::from(usage.cores);
            let memory: Vec<f64> =
                series.points().iter().map(|point| point.usage.resident_bytes as f64).collect();
            let top = memory.iter().copied().fold(0.0, f64::max);
            write!(
                row,
                "<td>{now:.1} of {}</td><td>{}</td><td>{}</td><td>{}</td><td>{} of {}</td><td>{}</td>\
                 <td>{:.1}</td><td>{}</td><td>{}</td></tr>",
                usage.cores,
                spark::line(&busy, 1.0),
                bytes(usage.resident_bytes),
                spark::line(&memory, top),
                bytes(usage.memory_available_bytes),
                bytes(usage.memory_bytes),
                bytes(usage.disk_available_bytes),
                usage.load,
                bytes(usage.network_received_bytes),
                bytes(usage.network_sent_bytes),
            )
        }
        _ if machine.within_driver => {
            write!(row, "<td colspan=\"9\" class=\"text\">in the driver's process</td></tr>")
        }
        _ => write!(row, "<td colspan=\"9\"></td></tr>"),
    };
    row.push('\n');
    row
}

fn links(inspector: &Inspector) -> String {
    const OWN: [(&str, &str); 8] = [
        ("machines", "the machines, as JSON"),
        ("series", "their usage since they started, as JSON"),
        ("metrics", "the metrics of all machines, for Prometheus"),
        ("logs", "the last lines of all machines"),
        ("flamegraph?seconds=10", "a flame graph of all machines, taken for 10 s"),
        ("flamegraph?seconds=10&by=machine", "the same, machine by machine"),
        ("pprof/profile?seconds=10", "a CPU profile for go tool pprof, taken for 10 s"),
        ("dump", "all of it as a zip archive"),
    ];
    let mut list = "<ul>\n".to_owned();
    let mut item = |path: &str, title: &str| {
        let (path, title) = (escape(path), escape(title));
        list.push_str(&format!("<li><a href=\"/debug/{path}\">/debug/{path}</a>: {title}</li>\n"));
    };
    for page in inspector.pages() {
        item(page.name(), page.title());
    }
    for (path, title) in OWN {
        item(path, title);
    }
    list.push_str("</ul>\n");
    list
}

/// A size for people.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}
