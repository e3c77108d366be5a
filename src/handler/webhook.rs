//! A message as an HTTP request.

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use secrecy::ExposeSecret;
use url::Host;

use super::addresses::Addresses;
use super::retry::LONGEST_REST;
use super::{Attempt, excerpt, signature};
use crate::clock::Clock;
use crate::config::WebhookTarget;
use crate::store::deliveries::DueDelivery;

/// How much of an answer is read. What says more is hung up on.
const ANSWER_BYTES: usize = 64 * 1024;

/// How much of an answer is kept for people.
const KEPT_BYTES: usize = 1024;

/// How long an answer is read at least whose head came in time. What has not ended then is hung up on as well.
const LEAST_READING: Duration = Duration::from_secs(1);

const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// A receiver of HTTP requests.
pub(super) struct Webhook {
    client: Client,
    target: WebhookTarget,
    addresses: Addresses,
    clock: Clock,
}

impl Webhook {
    /// A receiver; its connections are kept open for the next message.
    pub(super) fn new(target: WebhookTarget, concurrency: usize, clock: Clock) -> Result<Self, String> {
        choose_cryptography();
        let addresses =
            Addresses { allowed: target.allow_addresses.clone().into(), only_allowed: target.url.scheme() == "http" };
        let mut client = Client::builder()
            .user_agent(concat!("eventferry/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(&target)?)
            .dns_resolver(addresses.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .pool_max_idle_per_host(concurrency);
        if let Some(path) = &target.ca_file {
            let certificates = reqwest::Certificate::from_pem_bundle(&read(path)?);
            client = client.tls_certs_merge(certificates.map_err(|error| unusable(path, &error))?);
        }
        if let Some(path) = &target.client_certificate_file {
            let identity = reqwest::Identity::from_pem(&read(path)?);
            client = client.identity(identity.map_err(|error| unusable(path, &error))?);
        }
        let client = client.build().map_err(|error| format!("its client cannot be made: {}", cause(&error)))?;
        Ok(Self { client, target, addresses, clock })
    }

    /// Sends one message and waits for the answer.
    pub(super) async fn deliver(&self, message: &DueDelivery) -> Attempt {
        let address = match self.target.url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            // The name's addresses are looked at when it is resolved.
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(Err(refusal)) = address.map(|address| self.addresses.check(address)) {
            return Attempt::Failed(refusal.to_string());
        }
        let timestamp = self.clock.now().timestamp();
        let signature = signature::signatures(&self.target.secrets, &message.message_id, timestamp, &message.body);
        let request = self
            .client
            .post(self.target.url.clone())
            .header("content-type", CONTENT_TYPE)
            .header("webhook-id", &message.message_id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(message.body.clone());
        let begun = self.clock.monotonic();
        let response = tokio::select! {
            biased;
            response = request.send() => response,
            () = self.clock.sleep(self.target.timeout) => {
                return Attempt::Failed(format!("it did not answer within {} s", self.target.timeout.as_secs_f32()));
            }
        };
        match response {
            Ok(response) => self.judge(response, begun).await,
            Err(error) => Attempt::Failed(in_words(&error)),
        }
    }

    /// Its status and its headers decide, whatever becomes of the rest of the answer.
    async fn judge(&self, mut response: Response, begun: Duration) -> Attempt {
        let status = response.status();
        let rest = rest_of(&response, &self.clock);
        let taken = self.clock.monotonic().saturating_sub(begun);
        let mut said = Vec::new();
        // Read even where nobody is interested: only then can the connection serve the next message.
        tokio::select! {
            biased;
            () = read_answer(&mut response, &mut said) => {}
            () = self.clock.sleep(self.target.timeout.saturating_sub(taken).max(LEAST_READING)) => {}
        }
        let said = excerpt(&said);
        let told =
            if said.is_empty() { format!("it answered {status}") } else { format!("it answered {status}: {said}") };
        match (status, rest) {
            (status, _) if status.is_success() => Attempt::Delivered,
            (StatusCode::GONE, _) => Attempt::Gone(told),
            (
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT,
                Some(rest),
            ) => Attempt::Later(rest, told),
            (status, _) if status.is_redirection() => {
                Attempt::Failed(format!("{told}; redirects are not followed, `url` must be the place itself"))
            }
            _ => Attempt::Failed(told),
        }
    }
}

/// Both databases and the mail server are reached with the same library.
fn choose_cryptography() {
    static CHOSEN: Once = Once::new();
    CHOSEN.call_once(|| {
        // Fails only where somebody has chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn headers(target: &WebhookTarget) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &target.headers {
        let refused = |_| format!("its header `{name}` cannot be sent");
        let header = HeaderName::try_from(name.as_str()).map_err(|_| refused(()))?;
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| refused(()))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
}

fn unusable(path: &Path, error: &reqwest::Error) -> String {
    format!("`{}` cannot be used: {}", path.display(), cause(error))
}

fn in_words(error: &reqwest::Error) -> String {
    let what = if error.is_connect() { "it could not be reached" } else { "the connection broke" };
    format!("{what}: {}", cause(error))
}

/// The last of its causes, which alone says something; the others name the URL, or say that something went wrong.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// How long the receiver wants to be left alone: seconds, or an instant (RFC 9110, 10.2.3).
fn rest_of(response: &Response, clock: &Clock) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let rest = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - clock.now()).to_std().unwrap_or_default(),
    };
    Some(rest.clamp(Duration::from_secs(1), LONGEST_REST))
}

/// Reads an answer to its end, or as much as is read of any; keeps its beginning.
async fn read_answer(response: &mut Response, kept: &mut Vec<u8>) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        let room = KEPT_BYTES.saturating_sub(kept.len()).min(chunk.len());
        kept.extend_from_slice(&chunk[..room]);
        if read > ANSWER_BYTES {
            break;
        }
    }
}
