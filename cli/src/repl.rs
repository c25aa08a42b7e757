//! The prompt: reads a statement of any number of lines, has it run, and goes on.
//!
//! The editor blocks, so it runs on a thread of its own and is handed back and forth. While it
//! has the terminal, nothing else is written there: a line for the user sets a flag, on which the
//! editor makes way, and takes up where it was once the line is shown.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bigslice::ScriptPiece;
use reedline::{
    Color, ColumnarMenu, EditCommand, Emacs, KeyCode, KeyModifiers, MenuBuilder, Prompt,
    PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline, ReedlineEvent,
    ReedlineMenu, Signal as Typed, ValidationResult, Validator, default_emacs_keybindings,
};

use crate::cell;
use crate::command;
use crate::complete::SqlCompleter;
use crate::error::{Error, Result};
use crate::highlight::SqlHighlighter;
use crate::history::Remembered;
use crate::output::Appear;
use crate::report::Origin;
use crate::shell::{Flow, Shell, Status, Stop, Stopped};
use crate::signals::{Presence, Signal};
use crate::vocabulary::Vocabulary;

const MENU: &str = "completion";

/// The editor looks at the break signal ten times a second.
const BREAK_TIME_MAX: Duration = Duration::from_millis(500);

impl Shell {
    /// Talks to the user when standard input is a terminal; runs it as a script when it is none.
    pub async fn run(mut self) -> Result<Status> {
        match std::io::stdin().is_terminal() {
            true => self.prompt().await,
            false => self.standard_input().await,
        }
    }

    /// Reads statements at a prompt until the user leaves.
    pub(crate) async fn prompt(&mut self) -> Result<Status> {
        self.listen(Presence::Prompt)?;
        self.appear = Appear::PerStatement;
        let status = repl(self).await;
        self.output.finish()?;
        status
    }
}

/// Talks to the user until they leave.
async fn repl(shell: &mut Shell) -> Result<Status> {
    let vocabulary = Vocabulary::default();
    let mut editor = Box::new(editor(shell, &vocabulary));
    let name = shell.options.name.clone().unwrap_or_else(|| "bigsql".to_owned());
    let prompt = SqlPrompt { name };
    if !shell.options.quiet {
        shell.console.say(&format!(
            "{} {}. \".help\" says what there is; a statement ends with a semicolon.",
            prompt.name,
            env!("CARGO_PKG_VERSION")
        ));
    }
    loop {
        vocabulary.renew(&shell.session).await;
        let (back, typed) = match read(shell, editor, &prompt).await? {
            Read::Typed(editor, typed) => (editor, typed),
            Read::Signal(signal) => {
                // The shell that comes back must not write into our prompt.
                shell.console.error("");
                return Ok(Status::Interrupted(signal));
            }
        };
        editor = back;
        // Now, for a process that is killed later would forget what was typed.
        if let Err(e) = editor.sync_history() {
            shell.console.say(&format!("what you type is not remembered: {e}"));
        }
        match typed {
            Typed::Success(text) => match entered(shell, &text).await {
                Ok(Flow::Continue) | Err(Stop::Failed) => {}
                Ok(Flow::Quit) => return Ok(Status::Done),
                Err(Stop::OutputClosed) => return Ok(Status::Done),
                Err(Stop::Interrupted(Signal::Interrupt)) => {
                    shell.console.error("cancelled");
                    if let Some(signals) = &shell.signals {
                        signals.cancelled();
                    }
                }
                Err(Stop::Interrupted(signal)) => return Ok(Status::Interrupted(signal)),
            },
            Typed::CtrlD => return Ok(Status::Done),
            // Ctrl-C cleared the line; a break was for the lines that were held back.
            _ => {}
        }
    }
}

/// Runs what was entered, which may be several statements.
async fn entered(shell: &mut Shell, text: &str) -> Stopped<Flow> {
    if let Some(command) = command::plain_word(text) {
        return shell.command(command, Origin::default()).await;
    }
    for piece in ScriptPiece::split(text) {
        let origin = Origin { script: None, line: piece.line };
        if shell.piece(&piece, origin).await? == Flow::Quit {
            return Ok(Flow::Quit);
        }
    }
    Ok(Flow::Continue)
}

enum Read {
    Typed(Box<Reedline>, Typed),
    /// Told to end while the user was typing. The editor is lost with its thread.
    Signal(Signal),
}

async fn read(shell: &Shell, mut editor: Box<Reedline>, prompt: &SqlPrompt) -> Result<Read> {
    let prompt = prompt.clone();
    let name = prompt.name.clone();
    shell.console.begin_editing();
    let mut typing = tokio::task::spawn_blocking(move || {
        let typed = editor.read_line(&prompt);
        (editor, typed)
    });
    // The editor sees Ctrl-C as a key, so that a signal that comes now is from elsewhere.
    let ended = async {
        let Some(signals) = &shell.signals else { return std::future::pending().await };
        loop {
            match signals.next().await {
                Signal::Interrupt => signals.cancelled(),
                signal => return signal,
            }
        }
    };
    let read = tokio::select! {
        signal = ended => {
            shell.console.break_signal().store(true, Ordering::Relaxed);
            // It leaves the terminal as it found it; where the terminal is gone it never comes
            // back.
            let _ = tokio::time::timeout(BREAK_TIME_MAX, &mut typing).await;
            let _ = crossterm::terminal::disable_raw_mode();
            Ok(Read::Signal(signal))
        }
        typed = &mut typing => match typed {
            Ok((editor, Ok(typed))) => Ok(Read::Typed(editor, typed)),
            Ok((_, Err(e))) => {
                Err(Error::io("cannot read from the terminal", std::io::Error::other(e.to_string())))
            }
            Err(e) => Err(Error::command(format!("the editor failed: {e}"))),
        },
    };
    let make_way = match &read {
        Ok(Read::Typed(editor, Typed::ExternalBreak(text))) => {
            let columns = shell.terminal_columns();
            make_way(text, editor.current_insertion_point(), cell::width(&name) + 2, columns)
        }
        _ => String::new(),
    };
    shell.console.end_editing(&make_way);
    read
}

/// What to write before lines that come while the user types: it takes the cursor below what is
/// typed, which stays, and which the editor shows again below the lines.
fn make_way(text: &str, cursor: usize, prompt_width: usize, columns: usize) -> String {
    let rows = |text: &str| {
        let widths = text.split('\n').map(|line| prompt_width + cell::width(line));
        widths.map(|width| width / columns.max(1) + 1).sum::<usize>()
    };
    match rows(text).saturating_sub(rows(text.get(..cursor).unwrap_or(text))) {
        0 => "\r\n".to_owned(),
        below => format!("\x1b[{below}B\r\n"),
    }
}

fn editor(shell: &Shell, vocabulary: &Vocabulary) -> Reedline {
    let color = !shell.options.no_color;
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![
            ReedlineEvent::Menu(MENU.to_owned()),
            ReedlineEvent::MenuNext,
        ]),
    );
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    keys.add_binding(
        KeyModifiers::ALT,
        KeyCode::Enter,
        ReedlineEvent::Edit(vec![EditCommand::InsertNewline]),
    );
    let menu = ColumnarMenu::default().with_name(MENU).with_marker("> ");
    let mut editor = Reedline::create()
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_validator(Box::new(Statements))
        .with_completer(Box::new(SqlCompleter { vocabulary: vocabulary.clone() }))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_ansi_colors(color)
        .use_bracketed_paste(true)
        .with_break_signal(shell.console.break_signal());
    if color {
        let highlighter = SqlHighlighter { vocabulary: vocabulary.clone() };
        editor = editor.with_highlighter(Box::new(highlighter));
    }
    match shell.options.state_folder.as_deref().map(Remembered::in_folder) {
        Some(Ok(history)) => editor = editor.with_history(Box::new(history)),
        Some(Err(e)) => shell.console.say(&format!("what you type is not remembered: {e}")),
        None => {}
    }
    editor
}

/// Enter ends what is typed when all statements in it have their semicolon.
struct Statements;

impl Validator for Statements {
    fn validate(&self, line: &str) -> ValidationResult {
        match ScriptPiece::is_complete(line) || command::plain_word(line).is_some() {
            true => ValidationResult::Complete,
            false => ValidationResult::Incomplete,
        }
    }
}

#[derive(Clone)]
struct SqlPrompt {
    name: String,
}

impl Prompt for SqlPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        // As wide as the first line's prompt, so that the lines of a statement stand in line.
        Cow::Owned(format!("{}> ", ".".repeat(self.name.chars().count())))
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "nothing ",
        };
        Cow::Owned(format!(" ({failing}with \"{}\") ", search.term))
    }

    fn get_prompt_color(&self) -> Color {
        Color::Default
    }

    fn get_indicator_color(&self) -> Color {
        Color::Default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_the_user_do_not_overwrite_what_is_typed() {
        assert_eq!(make_way("select 1", 3, 8, 80), "\r\n");
        assert_eq!(make_way("select\n1", 8, 8, 80), "\r\n");
        assert_eq!(make_way("select\n1\n2", 6, 8, 80), "\x1b[2B\r\n");
        assert_eq!(make_way(&"x".repeat(100), 100, 8, 80), "\r\n");
    }
}
