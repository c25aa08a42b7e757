//! The prompt: reads statements of any number of lines and runs them.
//!
//! The editor blocks, so it runs on its own thread and is passed back and forth. While it has the
//! terminal, nothing else writes there: a message for the user sets a flag, the editor yields, and
//! resumes once the message is shown.

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

/// The editor checks the break flag ten times a second.
const BREAK_TIME_MAX: Duration = Duration::from_millis(500);

impl Shell {
    /// Shows a prompt if standard input is a terminal, and otherwise runs it as a script.
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

/// Reads and runs statements until the user leaves.
async fn repl(shell: &mut Shell) -> Result<Status> {
    let vocabulary = Vocabulary::default();
    let mut editor = Box::new(editor(shell, &vocabulary));
    let name = shell.options.name.clone().unwrap_or_else(|| "bigsql".to_owned());
    let prompt = SqlPrompt { name };
    if !shell.options.quiet {
        shell.console.say(&format!(
            "{} {}. \".help\" lists the commands. End statements with a semicolon.",
            prompt.name,
            env!("CARGO_PKG_VERSION")
        ));
    }
    loop {
        vocabulary.renew(&shell.session).await;
        let (back, typed) = match read(shell, editor, &prompt).await? {
            Read::Typed(editor, typed) => (editor, typed),
            Read::Signal(signal) => {
                // The parent shell must not write into our prompt.
                shell.console.error("");
                return Ok(Status::Interrupted(signal));
            }
        };
        editor = back;
        // Saved at once, because a process that is killed later would lose it.
        if let Err(e) = editor.sync_history() {
            shell.console.say(&format!("cannot write the history file: {e}"));
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
            // Ctrl-C cleared the line; a break printed the lines held back.
            _ => {}
        }
    }
}

/// Runs the input, which may be several statements.
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
    /// A signal arrived while the user was typing. The editor is lost with its thread.
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
    // The editor handles Ctrl-C as a key, so a signal here comes from outside.
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
            // The editor restores the terminal; if the terminal is gone, it never returns.
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

/// The text to write before messages while the user types: it moves the cursor below the input,
/// which stays on the screen; the editor repeats it below the messages.
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
        Some(Err(e)) => shell.console.say(&format!("cannot open the history file: {e}")),
        None => {}
    }
    editor
}

/// Enter submits the input if every statement in it ends with a semicolon.
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
        // As wide as the first line's prompt, so that the lines of a statement align.
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
