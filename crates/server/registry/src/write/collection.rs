//! Deletion of everything that is selected.
use super::delete::DeleteOptions;
use crate::{
    read::{list::collect, options::ListOptions, views},
    registry::{Context, Registry},
    selection::Selection,
};
use skiff_meta::{Reason, Status};
use skiff_request::{Answer, ListAnswer};

impl Registry {
    /// Answers with what was found; what vanished meanwhile is no error.
    pub(crate) async fn delete_collection(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let options = DeleteOptions::of(ctx)?;
        let list = ListOptions::parse(&ctx.call.query, false)?;
        let selection = Selection::of(ctx)?;
        let found = collect(self, ctx, &list, &selection).await?;
        let mut warnings: Vec<String> = Vec::new();
        for e in &found.entries {
            match self.delete_named(ctx, e.name(), e.namespace(), &options).await {
                Err(s) if !s.is(Reason::NotFound) => return Err(s),
                Err(_) => {}
                Ok(answer) => warnings.extend(answer.warnings().iter().filter(|w| !warnings.contains(w)).cloned().collect::<Vec<_>>()),
            }
        }
        let items = views(ctx.row, ctx.version(), &found.entries).await?;
        Ok(Answer::List(ListAnswer {
            kind: ctx.row.gvk(ctx.version()),
            items,
            revision: self.store.revision(),
            continue_token: found.token,
            remaining: found.remaining,
            warnings,
        }))
    }
}
