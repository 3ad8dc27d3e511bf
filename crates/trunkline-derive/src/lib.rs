//! `#[derive(Task)]`: a type that is a kind of job, for the trait `trunkline::jobs::Task`. Use it from there.
//!
//! Guarantees: what no queue would take (a kind that is too long, a priority that is none) does not compile. Knows nothing of
//! serde: derive `Serialize` and `Deserialize` beside it.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{DeriveInput, Error, LitInt, LitStr, Result, meta::ParseNestedMeta, parse_macro_input};

/// Makes a type a task: `#[task(kind = "welcome", queue = "mail", max_attempts = 5, priority = 3)]`. The kind must be there: it is
/// how the jobs of this type are told from others in the database, so it must not change with the type's name.
#[proc_macro_derive(Task, attributes(task))]
pub fn derive_task(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    task(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

/// What `#[task(…)]` says.
#[derive(Default)]
struct Said {
    kind: Option<LitStr>,
    queue: Option<LitStr>,
    max_attempts: Option<LitInt>,
    priority: Option<LitInt>,
}

impl Said {
    fn note(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("kind") {
            let kind = text(meta, 100)?;
            set(&mut self.kind, kind, meta)
        } else if meta.path.is_ident("queue") {
            let queue = text(meta, 100)?;
            set(&mut self.queue, queue, meta)
        } else if meta.path.is_ident("max_attempts") {
            let most = number(meta, 10_000)?;
            set(&mut self.max_attempts, most, meta)
        } else if meta.path.is_ident("priority") {
            let priority = number(meta, 9)?;
            set(&mut self.priority, priority, meta)
        } else {
            Err(meta.error("expected kind, queue, max_attempts or priority"))
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("said twice")),
    }
}

/// A text of 1 to so many bytes.
fn text(meta: &ParseNestedMeta<'_>, most: usize) -> Result<LitStr> {
    let literal: LitStr = meta.value()?.parse()?;
    let value = literal.value();
    if value.is_empty() || value.len() > most || value.contains('\0') {
        return Err(Error::new(literal.span(), format!("must be 1 to {most} bytes, without NUL")));
    }
    Ok(literal)
}

/// A number from 1 to `most`.
fn number(meta: &ParseNestedMeta<'_>, most: u16) -> Result<LitInt> {
    let literal: LitInt = meta.value()?.parse()?;
    let value: u16 = literal.base10_parse()?;
    if !(1..=most).contains(&value) {
        return Err(Error::new(literal.span(), format!("must be 1 to {most}")));
    }
    Ok(literal)
}

fn task(input: &DeriveInput) -> Result<TokenStream> {
    let mut said = Said::default();
    for attribute in input.attrs.iter().filter(|a| a.path().is_ident("task")) {
        attribute.parse_nested_meta(|meta| said.note(&meta))?;
    }
    let Some(kind) = said.kind else {
        return Err(Error::new(Span::call_site(), "a task needs its kind: #[task(kind = \"…\")]"));
    };
    let queue = said.queue.map(|queue| quote!(const QUEUE: &'static str = #queue;));
    let options = [
        said.max_attempts.map(|most| quote!(let job = job.max_attempts(#most);)),
        said.priority.map(|priority| quote!(let job = job.priority(#priority);)),
    ];
    let options = options.into_iter().flatten();
    let name = &input.ident;
    if !input.generics.params.is_empty() {
        return Err(Error::new(name.span(), "one kind is one type: a task has no parameters"));
    }
    Ok(quote! {
        #[automatically_derived]
        impl ::trunkline::jobs::Task for #name {
            const KIND: &'static str = #kind;
            #queue

            fn options(job: ::trunkline::jobs::NewJob) -> ::trunkline::jobs::NewJob {
                #(#options)*
                job
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(source: &str) -> std::result::Result<String, String> {
        let input: DeriveInput = syn::parse_str(source).map_err(|e| e.to_string())?;
        task(&input).map(|tokens| tokens.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_no_queue_would_take_is_refused() {
        for (said, why) in [
            ("", "needs its kind"),
            ("#[task(queue = \"mail\")]", "needs its kind"),
            ("#[task(kind = \"\")]", "1 to 100 bytes"),
            ("#[task(kind = 7)]", "expected string literal"),
            ("#[task(kind = \"a\", kind = \"b\")]", "said twice"),
            ("#[task(kind = \"a\", retries = 3)]", "expected kind, queue"),
            ("#[task(kind = \"a\", max_attempts = 0)]", "must be 1 to 10000"),
            ("#[task(kind = \"a\", priority = 10)]", "must be 1 to 9"),
        ] {
            let refused = derived(&format!("{said} struct A;")).unwrap_err();
            assert!(refused.contains(why), "{said}: {refused}");
        }
        let generic = derived("#[task(kind = \"a\")] struct A<T>(T);").unwrap_err();
        assert!(generic.contains("no parameters"), "{generic}");
    }

    #[test]
    fn what_is_not_said_is_left_to_the_trait() {
        let all = "#[task(kind = \"a\", queue = \"q\", max_attempts = 5, priority = 2)] enum A { B }";
        let all = derived(all).unwrap();
        assert!(
            all.contains("QUEUE") && all.contains("max_attempts (5)") && all.contains("priority (2)"),
            "{all}"
        );
        assert!(!derived("#[task(kind = \"a\")] struct A;").unwrap().contains("QUEUE"));
    }
}
