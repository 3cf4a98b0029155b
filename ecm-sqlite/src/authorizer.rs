use crate::guard::{Guard, Mode};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};
use std::sync::atomic::Ordering;

/// Pragmas that only look at the schema or at the stored data; their argument says where.
const INSPECTING: [&str; 11] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
    "data_version",
];

/// Pragmas that, with an argument, may take the wal-index away.
const MODES: [&str; 2] = ["journal_mode", "locking_mode"];

/// Pragmas whose argument is stored in the file, as part of the transaction.
const STORED: [&str; 2] = ["application_id", "user_version"];

/// Pragmas that, without an argument, only tell a setting.
const TELLING: [&str; 43] = [
    "analysis_limit",
    "auto_vacuum",
    "automatic_index",
    "busy_timeout",
    "cache_size",
    "cache_spill",
    "cell_size_check",
    "checkpoint_fullfsync",
    "collation_list",
    "compile_options",
    "count_changes",
    "database_list",
    "defer_foreign_keys",
    "empty_result_callbacks",
    "encoding",
    "foreign_keys",
    "freelist_count",
    "full_column_names",
    "fullfsync",
    "function_list",
    "hard_heap_limit",
    "ignore_check_constraints",
    "journal_mode",
    "journal_size_limit",
    "legacy_alter_table",
    "locking_mode",
    "max_page_count",
    "mmap_size",
    "module_list",
    "page_count",
    "page_size",
    "pragma_list",
    "query_only",
    "read_uncommitted",
    "recursive_triggers",
    "reverse_unordered_selects",
    "schema_version",
    "secure_delete",
    "soft_heap_limit",
    "synchronous",
    "temp_store",
    "trusted_schema",
    "wal_autocheckpoint",
];

/// What the authorizer of every connection answers.
pub(crate) fn authorize(guard: &Guard, context: &AuthContext<'_>) -> Authorization {
    if let Some(recording) = guard.recording().as_mut() {
        recording.note(context);
    }
    let mode = guard.mode();
    // What ECM itself begins and ends writes nothing.
    if matches!(mode, Mode::Lent | Mode::Open)
        && let Some(mut writes) = guard.writes()
    {
        writes.note(context);
    }
    if mode != Mode::Lent {
        if let AuthAction::Pragma { pragma_name, pragma_value: Some(_) } = context.action
            && MODES.iter().any(|mode| mode.eq_ignore_ascii_case(pragma_name))
        {
            guard.modes_may_change().store(true, Ordering::Relaxed);
        }
        return Authorization::Allow;
    }
    match refusal(&context.action) {
        Some(reason) => {
            guard.refuse(reason);
            Authorization::Deny
        }
        None => Authorization::Allow,
    }
}

/// Why a borrower may not do this; `None` if he may.
fn refusal(action: &AuthAction<'_>) -> Option<String> {
    let whole = "take the whole connection with connection() to do it";
    Some(match *action {
        AuthAction::Transaction { operation } => {
            let name = match operation {
                TransactionOperation::Begin => "BEGIN",
                TransactionOperation::Rollback => "ROLLBACK",
                // SQLite says COMMIT also for END; rusqlite has no name for it.
                _ => "COMMIT",
            };
            format!("{name} is not allowed here: a closure runs inside a transaction that ECM begins and ends; {whole}")
        }
        AuthAction::Savepoint { savepoint_name, .. } => format!(
            "the savepoint {savepoint_name:?} is not allowed here: ECM keeps savepoints of its own in the transaction; \
             {whole}"
        ),
        AuthAction::Attach { filename } => format!(
            "ATTACH of {filename:?} is not allowed here: it would stay for whoever is lent the connection next; {whole}"
        ),
        AuthAction::Detach { database_name } => {
            format!("DETACH of {database_name:?} is not allowed here: it would stay for the next borrower; {whole}")
        }
        AuthAction::CreateTempTable { table_name: name }
        | AuthAction::CreateTempView { view_name: name }
        | AuthAction::CreateTempIndex { index_name: name, .. }
        | AuthAction::CreateTempTrigger { trigger_name: name, .. }
        | AuthAction::DropTempTable { table_name: name }
        | AuthAction::DropTempView { view_name: name }
        | AuthAction::DropTempIndex { index_name: name, .. }
        | AuthAction::DropTempTrigger { trigger_name: name, .. } => format!(
            "the temporary object {name:?} is not allowed here: it would hide tables from whoever is lent the \
             connection next; use a common table expression (WITH), or {whole}"
        ),
        AuthAction::Pragma { pragma_name, pragma_value } => return refused_pragma(pragma_name, pragma_value),
        AuthAction::Unknown { code, .. } => format!(
            "the action {code} is not allowed here: this version of ECM does not know what it leaves behind; {whole}"
        ),
        _ => return None,
    })
}

fn refused_pragma(name: &str, value: Option<&str>) -> Option<String> {
    let among = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if among(&INSPECTING) || among(&STORED) || (value.is_none() && among(&TELLING)) {
        return None;
    }
    let assigned = value.map(|value| format!(" = {value}")).unwrap_or_default();
    Some(format!(
        "PRAGMA {name}{assigned} is not allowed here: it would change the connection for whoever is lent it next, or \
         the file for everybody; set it in SqliteConfig, or take the whole connection with connection()"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_may_be_told_but_not_set() {
        for name in TELLING {
            assert!(refused_pragma(name, None).is_none(), "{name}");
            assert!(refused_pragma(&name.to_uppercase(), Some("1")).unwrap().contains("SqliteConfig"), "{name}");
        }
    }

    #[test]
    fn a_pragma_that_acts_without_an_argument_is_refused_and_so_is_an_unknown_one() {
        for name in ["wal_checkpoint", "optimize", "incremental_vacuum", "shrink_memory", "case_sensitive_like", "x"] {
            assert!(refused_pragma(name, None).is_some(), "{name}");
            assert!(refused_pragma(name, Some("1")).is_some(), "{name}");
        }
    }

    #[test]
    fn what_looks_at_the_schema_may_name_a_table() {
        for name in INSPECTING {
            assert!(refused_pragma(name, Some("t")).is_none(), "{name}");
        }
    }
}
