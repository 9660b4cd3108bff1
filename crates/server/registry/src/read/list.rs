//! Pages of a list.
//!
//! The first page fixes the revision; the pages behind it show the same state, until compaction takes it away (410 with
//! a token that goes on inconsistently).
use super::{
    options::{ListOptions, Match},
    token::{EXPIRED, Token},
    views,
};
use crate::{
    counts::Listed,
    registry::{Context, Registry},
    selection::Selection,
    table::Resource,
};
use skiff_meta::{Revision, Status};
use skiff_request::{Answer, ListAnswer};
use skiff_store::{Entry, ListQuery, Page, StoreError};
use std::time::Instant;

pub(crate) async fn list(registry: &Registry, ctx: &Context<'_>) -> Result<Answer, Status> {
    let options = ListOptions::parse(&ctx.call.query, false)?;
    let selection = Selection::of(ctx)?;
    let begun = Instant::now();
    let collected = collect(registry, ctx, &options, &selection).await?;
    let listed = Listed {
        evaluated: collected.evaluated,
        returned: collected.entries.len(),
        consistent: options.revision.is_none() && options.continue_token.is_empty(),
    };
    registry.counts.listed(ctx.row, listed, begun.elapsed());
    let items = views(ctx.row, ctx.version(), &collected.entries).await?;
    Ok(Answer::List(ListAnswer {
        kind: ctx.row.gvk(ctx.version()),
        items,
        revision: collected.revision,
        continue_token: collected.token,
        remaining: collected.remaining,
        warnings: Vec::new(),
    }))
}

pub(crate) struct Collected {
    pub entries: Vec<Entry>,
    pub revision: Revision,
    pub token: String,
    pub remaining: Option<u64>,
    /// How many objects the selector was tried on.
    evaluated: usize,
}

/// Where a list starts and which state it shows.
struct Start {
    after: Option<String>,
    /// None: the present.
    at: Option<Revision>,
}

async fn start(registry: &Registry, row: &Resource, options: &ListOptions, prefix: &str) -> Result<Start, Status> {
    if !options.continue_token.is_empty() {
        if options.revision.is_some_and(|r| r != Revision::ZERO) {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let token = Token::decode(&options.continue_token)?;
        return Ok(Start { after: Some(format!("{prefix}{}", token.after())), at: token.revision() });
    }
    let Some(asked) = options.revision else { return Ok(Start { after: None, at: None }) };
    // As upstream: with a limit and no match rule, a revision means exactly that one.
    let exact = match options.matching {
        Some(m) => m == Match::Exact,
        None => options.limit > 0 && asked != Revision::ZERO,
    };
    registry.await_revision(row, asked).await?;
    Ok(Start { after: None, at: exact.then_some(asked) })
}

async fn page(registry: &Registry, query: &ListQuery, at: Option<Revision>) -> Result<Page, StoreError> {
    match at {
        Some(r) if r != registry.store.revision() => registry.store.list_at(query, r).await,
        _ => Ok(registry.store.list(query)),
    }
}

/// One page of what is selected.
pub(crate) async fn collect(registry: &Registry, ctx: &Context<'_>, options: &ListOptions, selection: &Selection) -> Result<Collected, Status> {
    let prefix = ctx.row.prefix(ctx.namespace());
    let Start { mut after, mut at } = start(registry, ctx.row, options, &prefix).await?;
    let limit = options.page_size();
    if let Some(one) = single(registry, ctx, options, selection, at).await? {
        return Ok(one);
    }
    let (mut entries, mut evaluated): (Vec<Entry>, usize) = (Vec::new(), 0);
    loop {
        let query = ListQuery { prefix: prefix.clone(), after: after.clone(), limit };
        let page = page(registry, &query, at).await.map_err(|e| expired(e, options, after.as_deref(), &prefix))?;
        // The pages behind the first show the first one's state.
        at.get_or_insert(page.revision);
        evaluated += page.entries.len();
        let (more, remaining, last) = (page.more, page.remaining, page.entries.last().map(|e| e.key.to_string()));
        for e in selection.select(page.entries).await? {
            if limit > 0 && entries.len() == limit {
                return Ok(cut(entries, page.revision, &prefix, None, evaluated));
            }
            entries.push(e);
        }
        if !more || limit == 0 {
            return Ok(Collected { entries, revision: page.revision, token: String::new(), remaining: None, evaluated });
        }
        if entries.len() == limit {
            let remaining = selection.is_everything().then_some(remaining as u64);
            return Ok(cut(entries, page.revision, &prefix, remaining, evaluated));
        }
        after = last;
    }
}

fn cut(entries: Vec<Entry>, revision: Revision, prefix: &str, remaining: Option<u64>, evaluated: usize) -> Collected {
    let last = entries.last().map(|e| e.key.strip_prefix(prefix).unwrap_or(&e.key).to_owned()).unwrap_or_default();
    Collected { token: Token::new(Some(revision), &last).encode(), entries, revision, remaining, evaluated }
}

/// A selector that names one object of one namespace needs no scan.
async fn single(
    registry: &Registry,
    ctx: &Context<'_>,
    options: &ListOptions,
    selection: &Selection,
    at: Option<Revision>,
) -> Result<Option<Collected>, Status> {
    let Some(name) = selection.fields.required("metadata.name") else { return Ok(None) };
    if at.is_some() || !options.continue_token.is_empty() || (ctx.row.namespaced && ctx.namespace().is_empty()) {
        return Ok(None);
    }
    let revision = registry.store.revision();
    let found: Vec<Entry> = registry.store.get(&ctx.row.key(ctx.namespace(), name)).into_iter().collect();
    let evaluated = found.len();
    let entries = selection.select(found).await?;
    Ok(Some(Collected { entries, revision, token: String::new(), remaining: None, evaluated }))
}

fn expired(e: StoreError, options: &ListOptions, after: Option<&str>, prefix: &str) -> Status {
    match e {
        StoreError::Compacted { .. } if !options.continue_token.is_empty() => {
            let start = after.and_then(|a| a.strip_prefix(prefix)).unwrap_or_default();
            Status { continue_token: Some(Token::new(None, start).encode()), ..Status::expired(EXPIRED) }
        }
        StoreError::Compacted { .. } => Status::expired("The resourceVersion for the provided list is too old."),
        StoreError::Future { asked, current } => Status::revision_too_large(asked.0, current.0),
        e => crate::write::store_failure(e),
    }
}
