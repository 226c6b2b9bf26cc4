//! The report as Markdown.

use super::findings::Findings;
use super::tables::Table;

pub(crate) fn of(findings: &Findings<'_>) -> String {
    let mut text = format!("# fcgi-lab compare, {}\n\n**{}**\n", findings.record.date, findings.summary());
    for remark in findings.remarks() {
        text += &format!("\n- {remark}");
    }
    if !text.ends_with('\n') {
        text += "\n";
    }
    for &processes in &findings.record.plan.processes {
        let suffix = match findings.record.plan.processes.len() {
            1 => String::new(),
            _ => format!(", {processes} processes"),
        };
        let title = if findings.steps().is_empty() {
            "CPU per request"
        } else {
            "What keeping and multiplexing save"
        };
        text += &format!("\n## {title}{suffix}\n\n");
        text += &table(&findings.gains_table(processes));
    }
    if !findings.peaks.is_empty() {
        text += "\n## Processes\n\n";
        text += &table(&findings.peaks_table());
    }
    for cell in &findings.cells {
        text += &format!("\n## {}\n\n", findings.cell_name(cell));
        text += &table(&findings.comparison_table(cell));
        text += "\n";
        text += &table(&findings.why_table(cell));
    }
    if !findings.record.system_calls.is_empty() {
        text += "\n## System calls\n\n";
        text += &table(&findings.system_calls_table());
    }
    text += &format!("\n## How this was made\n\n{}\n\n", findings.method());
    text += "| | |\n|---|---|\n";
    for (name, value) in findings.setting() {
        text += &format!("| {name} | {} |\n", escape(&value));
    }
    text
}

pub(crate) fn table(table: &Table) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = "|---|".to_owned() + &"---:|".repeat(table.head.len() - 1) + "\n";
    line(&table.head) + &rule + &table.rows.iter().map(|row| line(row)).collect::<String>()
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
