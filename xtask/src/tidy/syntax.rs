//! Rules on Rust items: module documentation, functions, attributes.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Violation;
use super::source::Source;

/// The longest function, from its signature to its closing brace, in lines.
const FUNCTION_LINES_MAX: usize = 70;
/// The most arguments of a function, `self` included.
const ARGUMENTS_MAX: usize = 5;

/// Checks one file that has been parsed.
pub(super) fn check(source: &Source, file: &syn::File, violations: &mut Vec<Violation>) {
    let mut visitor = Visitor { source, violations };
    if !file.attrs.iter().any(is_inner_doc) {
        visitor.add(1, "no //! at its top; say in a sentence what this module is for");
    }
    visitor.visit_file(file);
}

fn is_inner_doc(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("doc") && matches!(attribute.style, syn::AttrStyle::Inner(_))
}

struct Visitor<'a> {
    source: &'a Source,
    violations: &'a mut Vec<Violation>,
}

impl Visitor<'_> {
    fn add(&mut self, line: usize, what: impl Into<String>) {
        self.violations.push(Violation::new(self.source.path(), line, what));
    }

    fn function(&mut self, signature: &syn::Signature, body: Option<&syn::Block>) {
        let first = signature.span().start().line;
        let name = &signature.ident;
        let count = signature.inputs.len();
        if count > ARGUMENTS_MAX {
            self.add(
                first,
                format!("{name} takes {count} arguments; group them, {ARGUMENTS_MAX} are enough"),
            );
        }
        let lines = body.map_or(0, |body| body.span().end().line + 1 - first);
        if lines > FUNCTION_LINES_MAX {
            self.add(first, format!("{name} has {lines} lines; split it, {FUNCTION_LINES_MAX} are enough"));
        }
    }

    /// `allow` and `expect` in a list of attributes' arguments, also below `cfg_attr`.
    fn lint_level(&mut self, name: &str, tokens: &TokenStream, line: usize) {
        let has_reason = tokens
            .clone()
            .into_iter()
            .any(|token| matches!(token, TokenTree::Ident(word) if word == "reason"));
        match name {
            "allow" if !has_reason => {
                self.add(line, "#[allow] without a reason; use #[expect(.., reason = \"..\")] or mend it");
            }
            "expect" if !has_reason => {
                self.add(line, "#[expect] without a reason; add reason = \"..\"");
            }
            "ignore" => self.add(line, "a test that is switched off; mend it or delete it"),
            _ => {}
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, Some(&item.block));
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, Some(&item.block));
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.sig, item.default.as_ref());
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let line = attribute.span().start().line;
        let name = attribute.path().get_ident().map(ToString::to_string).unwrap_or_default();
        let tokens = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.clone(),
            syn::Meta::Path(_) | syn::Meta::NameValue(_) => TokenStream::new(),
        };
        self.lint_level(&name, &tokens, line);
        if name == "cfg_attr" {
            let calls = calls(tokens);
            // What Miri cannot run, for want of a system call, it may leave out.
            let on_miri = calls.first().is_some_and(|(condition, _)| condition == "miri");
            for (inner, arguments) in calls.iter().filter(|(inner, _)| !(on_miri && inner == "ignore")) {
                self.lint_level(inner, arguments, line);
            }
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if name == concat!("to", "do") || name == concat!("unimple", "mented") {
            self.add(call.span().start().line, format!("{name}! marks unfinished work; do it"));
        }
        visit::visit_macro(self, call);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        // An example that is also run as a test is a module of that test.
        let outside = item.content.is_none() && !self.source.path().contains("/tests/");
        if outside && item.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
            self.add(item.span().start().line, "#[path] on a module; put the file where its name says");
        }
        visit::visit_item_mod(self, item);
    }
}

/// The words in a token stream, each with the content of the group after it; empty where there is none.
fn calls(tokens: TokenStream) -> Vec<(String, TokenStream)> {
    let mut found: Vec<(String, TokenStream)> = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(word) => found.push((word.to_string(), TokenStream::new())),
            TokenTree::Group(group) => {
                if let Some(last) = found.last_mut() {
                    last.1 = group.stream();
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    found
}
