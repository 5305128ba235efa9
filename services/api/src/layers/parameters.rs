//! Query parameters that a call does not have are refused, also by calls that have none.
//!
//! The document says which there are. Health is spared: a probe's cache-buster is not worth an alarm.

use crate::{ApiError, FieldError, routes};
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::Method;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation, ParameterIn},
};

/// The query parameters of every route.
#[derive(Debug)]
pub(crate) struct Known(HashMap<String, HashMap<Method, HashSet<String>>>);

impl Known {
    pub(crate) fn of(document: &OpenApi) -> Self {
        let routes = document.paths.paths.iter().map(|(path, item)| {
            let operations = [
                (Method::GET, &item.get),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ];
            let of_methods = operations
                .into_iter()
                .filter_map(|(method, operation)| Some((method, names(operation.as_ref()?))));
            (path.clone(), of_methods.collect())
        });
        Self(routes.collect())
    }

    fn unknown(&self, path: &str, method: &Method, query: &str) -> Option<String> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let names = self.0.get(path)?.get(method)?;
        url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, _)| name)
            .find(|name| !names.contains(&**name))
            .map(|name| name.chars().filter(|c| !c.is_control()).take(100).collect())
    }
}

fn names(operation: &Operation) -> HashSet<String> {
    let parameters = operation.parameters.iter().flatten();
    parameters
        .filter_map(|parameter| match parameter {
            RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
            _ => None,
        })
        .collect()
}

/// Wraps every request, inside of admission.
pub(crate) async fn layer(State(known): State<Arc<Known>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    if let (Some(route), Some(query)) = (route, request.uri().query())
        && route.starts_with(routes::BASE)
        && !routes::is_health(route)
        && let Some(name) = known.unknown(route, request.method(), query)
    {
        return ApiError::invalid(vec![FieldError::new(name, "is not a parameter of this call")]).into_response();
    }
    next.run(request).await
}
