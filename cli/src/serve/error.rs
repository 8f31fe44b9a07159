//! Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}` under a status of HTTP.

use hyper::StatusCode;
use rasp::{Error, Status};
use serde_json::{Value, json};

/// What went wrong with a request, and whose fault it is.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub status: StatusCode,
    message: String,
    /// The field of the request that is wrong: `messages[2].content`.
    param: Option<String>,
    code: Option<&'static str>,
}

pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into(), param: None, code: None }
    }

    /// A request that cannot be answered, and nothing in it is to blame alone.
    pub fn bad(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// A field that is wrong; its name begins the message.
    pub fn field(param: impl Into<String>, message: impl std::fmt::Display) -> ApiError {
        let param = param.into();
        ApiError { param: Some(param.clone()), ..ApiError::bad(format!("{param}: {message}")) }
    }

    pub fn code(self, code: &'static str) -> ApiError {
        ApiError { code: Some(code), ..self }
    }

    /// What the library refused, which came from this field.
    pub fn of_field(param: &str, error: &Error) -> ApiError {
        let whole = ApiError::from(error.clone());
        match whole.status.is_client_error() {
            true => ApiError { code: whole.code, ..ApiError::field(param, &whole.message) },
            false => whole,
        }
    }

    pub fn body(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let status = match error.status() {
            Status::InvalidArgument | Status::OutOfRange | Status::Template | Status::Unsupported => {
                StatusCode::BAD_REQUEST
            }
            Status::ContextFull => return ApiError::bad(error.message()).code("context_length_exceeded"),
            Status::OutOfMemory => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiError::new(status, error.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_shape_of_openai() {
        let error = ApiError::field("messages[1].role", "no role").code("x");
        let expected = json!({"error": {"message": "messages[1].role: no role", "type": "invalid_request_error",
            "param": "messages[1].role", "code": "x"}});
        assert_eq!(error.body(), expected);
        let full = ApiError::of_field("prompt", &Error::new(Status::ContextFull, "too long"));
        assert_eq!(
            (full.status, &full.body()["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!("context_length_exceeded"))
        );
        let ours = ApiError::from(Error::new(Status::Internal, "a defect"));
        assert_eq!((ours.status.as_u16(), &ours.body()["error"]["type"]), (500, &json!("server_error")));
        assert_eq!(ours.body()["error"]["param"], Value::Null);
    }
}
