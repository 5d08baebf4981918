#include "http/tls_session.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <array>
#include <cerrno>

#include "crypto/certificates.h"

namespace consort::http {
namespace {

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

bool is_made_out_to(X509* certificate, const std::string& host) {
  return is_address(host)
             ? X509_check_ip_asc(certificate, host.c_str(), 0) == 1
             : X509_check_host(certificate, host.c_str(), host.size(), 0, nullptr) == 1;
}

Result<crypto::Identity> identity_of(X509* certificate) {
  return TRY(crypto::Certificate::from_native(certificate)).identity();
}

// What the server's alert says about us (RFC 8446, section 6.2).
std::string_view alert_text(int reason) {
  switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "the server wants a certificate, and this side has none";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return "the server does not accept this side's certificate: it has expired (or begins later)";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
      return "the server does not accept this side's certificate: it was revoked";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return "the server does not accept this side's certificate: it is signed by another "
             "authority";
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
      return "the server does not accept this side's certificate: it is made for something else";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
      return "the server does not accept this side's certificate";
    default:
      return "";
  }
}

std::string_view alert_hint(int reason) {
  switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "join the site first, or use an operator's certificate";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return "renew it; if it is new, check the clocks of both machines";
    default:
      return "use a certificate that the authority of this site has issued";
  }
}

}  // namespace

Result<std::unique_ptr<TlsSession>> TlsSession::create(
    int fd, const Url& url, std::shared_ptr<TlsClientSettings> settings) {
  std::unique_ptr<TlsSession> session(new TlsSession(fd, url, std::move(settings)));
  BIO* bio = session->ssl_ == nullptr ? nullptr : make_socket_bio(session->wire_);
  if (bio == nullptr) {
    ERR_clear_error();
    return fail(ErrorCode::internal, "no memory for a TLS connection");
  }
  SSL* const ssl = session->ssl_.get();
  SSL_set_bio(ssl, bio, bio);
  SSL_set_app_data(ssl, &session->notes_);
  if (!is_address(url.at.host)) SSL_set_tlsext_host_name(ssl, url.at.host.c_str());
  if (const auto kept = session->settings_->resume(session->where_); kept.session != nullptr) {
    session->notes_.good_until = kept.good_until;
    SSL_set_session(ssl, kept.session.get());
  }
  SSL_set_connect_state(ssl);
  ERR_clear_error();
  return session;
}

TlsSession::TlsSession(int fd, const Url& url, std::shared_ptr<TlsClientSettings> settings)
    : settings_(std::move(settings)),
      where_(fmt::format("{}://{}", url.scheme, url.authority())),
      host_(url.at.host),
      ssl_(SSL_new(settings_->context.get())) {
  notes_.client = settings_.get();
  notes_.server = where_;
  wire_.fd = fd;
}

TlsSession::~TlsSession() {
  if (ssl_ == nullptr) return;
  ERR_clear_error();
  if (open_ && !failed_) SSL_shutdown(ssl_.get());
  // Else OpenSSL would take the session for damaged, and not resume it.
  if (open_ && !failed_) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  ERR_clear_error();
}

Result<TlsSession::Wants> TlsSession::shake_hands() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) return wants_after(result);
  TRYV(check_name());
  open_ = true;
  return Wants::nothing;
}

Result<TlsSession::Read> TlsSession::read(std::string& into) {
  ERR_clear_error();
  std::size_t n = 0;
  if (SSL_read_ex(ssl_.get(), into.data(), into.size(), &n) == 1) return Read{Wants::nothing, n};
  if (SSL_get_error(ssl_.get(), 0) == SSL_ERROR_ZERO_RETURN) return Read{};
  return Read{TRY(wants_after(0)), 0};
}

Result<TlsSession::Wants> TlsSession::write(std::string_view& bytes) {
  ERR_clear_error();
  std::size_t n = 0;
  if (SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &n) == 1) {
    bytes.remove_prefix(n);
    return Wants::nothing;
  }
  if (SSL_get_error(ssl_.get(), 0) == SSL_ERROR_SYSCALL) {
    // The server has closed; before that it has most likely said why.
    std::array<char, 1> byte{};
    std::size_t read = 0;
    ERR_clear_error();
    if (SSL_read_ex(ssl_.get(), byte.data(), byte.size(), &read) != 1 &&
        SSL_get_error(ssl_.get(), 0) == SSL_ERROR_SSL)
      return wants_after(0);
    failed_ = true;
    return fail(ErrorCode::unavailable,
                fmt::format("the connection to {} was cut while the request was sent", where_));
  }
  return wants_after(0);
}

bool TlsSession::pending() const { return SSL_has_pending(ssl_.get()) == 1; }

Result<TlsSession::Wants> TlsSession::wants_after(int result) {
  const int error_number = errno;
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ) return Wants::read;
  if (error == SSL_ERROR_WANT_WRITE) return Wants::write;
  failed_ = true;
  // Whatever it was about, next time both sides look at the certificates again.
  settings_->forget(where_);
  return tl::unexpected<Error>(error_of_failure(error, error_number));
}

Error TlsSession::error_of_failure(int ssl_error, int error_number) {
  if (!notes_.objection.empty()) {
    ERR_clear_error();
    return Error(ErrorCode::unauthenticated, fmt::format("the certificate of {}, {}, {}", where_,
                                                         notes_.whose, notes_.objection.why))
        .hint(notes_.objection.hint);
  }
  const int reason = ERR_GET_REASON(ERR_peek_error());
  const std::string text = openssl_errors();
  const std::string_view doing = open_ ? "while it was in use" : "during the TLS handshake";
  if (ssl_error == SSL_ERROR_SYSCALL || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    return Error(ErrorCode::unavailable,
                 fmt::format("the connection to {} was cut {}{}", where_, doing,
                             error_number != 0 && ssl_error == SSL_ERROR_SYSCALL
                                 ? ": " + std::generic_category().message(error_number)
                                 : ""))
        .hint(open_ ? ""
                    : "the server may have as many connections as it can take, or speak no TLS");
  }
  if (const auto alert = alert_text(reason); !alert.empty())
    return Error(ErrorCode::unauthenticated, fmt::format("{}: {}", where_, alert))
        .hint(std::string(alert_hint(reason)));
  if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST) {
    return Error(ErrorCode::unavailable, fmt::format("what listens at {} speaks no TLS", where_))
        .hint("is it an older server? It would be http://");
  }
  if (reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION || reason == SSL_R_UNSUPPORTED_PROTOCOL) {
    return Error(ErrorCode::unavailable, fmt::format("{} does not speak TLS 1.3", where_))
        .hint("older versions are not spoken here");
  }
  return Error(ErrorCode::unavailable,
               fmt::format("TLS with {} failed {}: {}", where_, doing, text));
}

// Also of a session that was resumed: what it is resumed from may have been made under other rules.
Status TlsSession::check_name() const {
  X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  if (certificate == nullptr)
    return fail(ErrorCode::unauthenticated, fmt::format("{} has shown no certificate", where_));
  if (settings_->expect == ServerCheck::host_name) {
    if (is_made_out_to(certificate, host_)) return {};
    return fail(ErrorCode::unauthenticated,
                fmt::format("the certificate of {}, {}, is not made out to {}", where_,
                            describe(certificate), host_))
        .hint("use a name or address that is in it");
  }
  const auto identity = identity_of(certificate);
  if (!identity || identity->kind != crypto::IdentityKind::controller) {
    return fail(ErrorCode::unauthenticated,
                fmt::format("the certificate of {}, {}, is not a controller's", where_,
                            describe(certificate)))
        .hint("is this the address of a controller?");
  }
  const auto fits = [](const std::string& wanted, const std::string& is) {
    return wanted.empty() || wanted == is;
  };
  if (fits(settings_->partition, identity->partition) &&
      fits(settings_->controller, identity->name))
    return {};
  return fail(
             ErrorCode::unauthenticated,
             fmt::format("what answers at {} is {}, and not consort://{}/controller/{}", where_,
                         identity->uri(), settings_->partition.empty() ? "*" : settings_->partition,
                         settings_->controller.empty() ? "*" : settings_->controller))
      .hint("is this the right address?");
}

}  // namespace consort::http
