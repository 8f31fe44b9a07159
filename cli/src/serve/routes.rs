//! What there is at which path, and who may ask for it.

use super::App;
use super::body::{Response, read};
use super::connections::{Busy, ConnectionGuard};
use super::error::{ApiError, ApiResult};
use super::prepare::{self, Prepared};
use super::protocol::{
    ChatRequest, CompletionRequest, Embedding, EmbeddingRequest, Embeddings, ModelEntry, Usage, Vector,
};
use super::reply::{Api, ResponseWriter};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;

type HttpAnswer = hyper::Response<Response>;

/// Answers a request.
pub async fn answer(
    app: Arc<App>,
    connection: Arc<ConnectionGuard>,
    request: Request<Incoming>,
) -> Result<HttpAnswer, Infallible> {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut answer = match admitted(&app, &request) {
        Err(error) => refusal(&error),
        Ok(()) if request.method() == Method::OPTIONS => preflight(request.headers()),
        Ok(()) => route(&app, &connection, request).await.unwrap_or_else(|error| refusal(&error)),
    };
    if let Some(allowed) = app.cors.as_ref().filter(|allowed| origin.as_ref().is_none_or(|o| matches(allowed, o))) {
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone());
        answer.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
    }
    Ok(answer)
}

fn matches(allowed: &HeaderValue, origin: &HeaderValue) -> bool {
    allowed == "*" || allowed == origin
}

/// Whether who asks may. A page in a browser says where it comes from: without `--cors` none may ask, since any page
/// that somebody visits could.
fn admitted(app: &App, request: &Request<Incoming>) -> ApiResult<()> {
    let headers = request.headers();
    let foreign = |origin: &HeaderValue| !app.cors.as_ref().is_some_and(|allowed| matches(allowed, origin));
    if headers.get(header::ORIGIN).is_some_and(foreign) {
        let message = "pages of this origin may not ask here (rasp serve --cors ORIGIN)";
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    // A browser sends no key before it may.
    let free = request.method() == Method::OPTIONS || request.uri().path() == "/health";
    match &app.key {
        Some(key) if !free && !has_key(headers, key) => {
            let message = "this server wants its key: Authorization: Bearer KEY";
            Err(ApiError::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key"))
        }
        _ => Ok(()),
    }
}

/// Whether a request has the key. How long that takes does not tell where a wrong one differs.
fn has_key(headers: &HeaderMap, key: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let Some((scheme, given)) = given.split_at_checked("bearer ".len()) else { return false };
    let differences = given.iter().zip(key.as_bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    scheme.eq_ignore_ascii_case(b"bearer ") && given.len() == key.len() && differences == 0
}

async fn route(app: &Arc<App>, connection: &Arc<ConnectionGuard>, request: Request<Incoming>) -> ApiResult<HttpAnswer> {
    let path = request.uri().path().to_string();
    let wanted = match path.as_str() {
        "/v1/chat/completions" | "/v1/completions" | "/v1/embeddings" => Method::POST,
        "/health" | "/v1/models" => Method::GET,
        one if one.starts_with("/v1/models/") => Method::GET,
        _ => {
            let message = format!(
                "there is no {path}, but /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models and /health"
            );
            return Err(ApiError::new(StatusCode::NOT_FOUND, message));
        }
    };
    if request.method() != wanted {
        let message = format!("{path} is asked for with {wanted}");
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    if wanted == Method::GET {
        return match path.as_str() {
            "/health" => Ok(json_body(json!({"status": "ok"}).to_string().into_bytes(), None)),
            "/v1/models" => Ok(models(app)),
            one => model(app, one.trim_start_matches("/v1/models/")),
        };
    }
    let body = read(request.into_body()).await?;
    let busy = Some(connection.busy());
    let worker = app.clone();
    match path.as_str() {
        "/v1/embeddings" => {
            let prepare = move || {
                let request = EmbeddingRequest::read(&body)?;
                Ok((prepare::embedding(&worker, &request)?, request.base64))
            };
            let (texts, base64) = beside(prepare).await?;
            embeddings(app, texts, base64, busy).await
        }
        "/v1/completions" => {
            let prepare = move || prepare::completion(&worker, &CompletionRequest::read(&body)?);
            answers(app, Api::Text, beside(prepare).await?, busy).await
        }
        _ => {
            let prepare = move || prepare::chat(&worker, &ChatRequest::read(&body)?);
            answers(app, Api::Chat, beside(prepare).await?, busy).await
        }
    }
}

/// Runs what may take long beside the thread that talks with clients.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> ApiResult<T> + Send + 'static) -> ApiResult<T> {
    let defect = || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be prepared");
    tokio::task::spawn_blocking(work).await.map_err(|_| defect())?
}

async fn answers(app: &Arc<App>, api: Api, prepared: Prepared, busy: Option<Busy>) -> ApiResult<HttpAnswer> {
    let reply = ResponseWriter::new(app.clone(), api, &prepared);
    let Prepared { orders, events, stream, .. } = prepared;
    for order in orders {
        let ended = |_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server ends");
        app.orders.send(order).map_err(ended)?;
    }
    if !stream {
        return Ok(json_body(reply.whole(events).await?, busy));
    }
    let mut answer = hyper::Response::new(Response::stream(reply, events, busy));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

async fn embeddings(app: &App, texts: Vec<Vec<u32>>, base64: bool, busy: Option<Busy>) -> ApiResult<HttpAnswer> {
    let tokens = texts.iter().map(Vec::len).sum();
    let vectors = app.embedder.embed(texts).await?;
    let encode = |vector: Vec<f32>| match base64 {
        true => {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            Vector::Base64(base64::encode(bytes))
        }
        false => Vector::Floats(vector),
    };
    let data = vectors.into_iter().enumerate().map(|(index, vector)| Embedding {
        object: "embedding",
        index,
        embedding: encode(vector),
    });
    let usage = Usage::of_embeddings(tokens);
    let body = Embeddings { object: "list", data: data.collect(), model: app.name(), usage };
    Ok(json_body(serde_json::to_vec(&body).unwrap_or_default(), busy))
}

fn entry<'a>(app: &App, id: &'a str) -> ModelEntry<'a> {
    ModelEntry { id, object: "model", created: app.created, owned_by: "rasp" }
}

fn models(app: &App) -> HttpAnswer {
    let all: Vec<_> = app.names.iter().map(|name| entry(app, name)).collect();
    json_body(json!({"object": "list", "data": all}).to_string().into_bytes(), None)
}

fn model(app: &App, name: &str) -> ApiResult<HttpAnswer> {
    match app.is_called(name) {
        true => Ok(json_body(json!(entry(app, name)).to_string().into_bytes(), None)),
        false => Err(ApiError::new(StatusCode::NOT_FOUND, app.no_model(name)).code("model_not_found")),
    }
}

fn json_body(bytes: Vec<u8>, busy: Option<Busy>) -> HttpAnswer {
    let mut answer = hyper::Response::new(Response::whole(bytes, busy));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn refusal(error: &ApiError) -> HttpAnswer {
    let mut answer = json_body(error.body().to_string().into_bytes(), None);
    *answer.status_mut() = error.status;
    if error.status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// What a browser asks before a page may ask.
fn preflight(headers: &HeaderMap) -> HttpAnswer {
    let mut answer = hyper::Response::new(Response::whole(vec![], None));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let mut set = |name: HeaderName, value: HeaderValue| answer.headers_mut().insert(name, value);
    set(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    set(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    // Clients add headers of their own, which are read by nobody here.
    if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    answer
}
