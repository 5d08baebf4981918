#include "http/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <functional>
#include <vector>

#include "crypto/certificates.h"
#include "http/tls_library.h"

namespace consort::http {
namespace {

constexpr std::size_t kSessions = 64;
// How long a ticket may stand for the handshake that it came from.
constexpr Duration kTicketLife = hours(12);
constexpr long kHandshakeBytes = 32 << 10;  // of the peer's certificates

using crypto::Certificate;

Result<std::vector<Certificate>> read_certificates(std::string_view pem, std::string_view what) {
  auto read = crypto::certificates_from_pem(pem);
  if (!read) read.error().add_context(fmt::format("while reading {}", what));
  return read;
}

Result<crypto::PrivateKey> read_key(const crypto::SecretText& pem) {
  auto read = crypto::PrivateKey::from_pem(pem.reveal());
  if (!read) read.error().add_context("while reading the private key for TLS");
  return read;
}

Result<SslContext> make_context(OSSL_LIB_CTX* library, const SSL_METHOD* method) {
  SslContext context(SSL_CTX_new_ex(library, nullptr, method));
  SSL_CTX* const ctx = context.get();
  if (ctx == nullptr || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set1_groups_list(ctx, "X25519:P-256") != 1 ||
      SSL_CTX_set_ciphersuites(
          ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") != 1) {
    return fail(ErrorCode::internal, fmt::format("TLS cannot be set up: {}", openssl_errors()));
  }
  // Idle connections are many: none keeps a buffer. The chain is given in full, so it is not
  // searched for at each handshake.
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_max_cert_list(ctx, kHandshakeBytes);
  SSL_CTX_set_verify_depth(ctx, 4);
  SSL_CTX_set_timeout(ctx,
                      static_cast<long>(std::chrono::duration_cast<seconds>(kTicketLife).count()));
  return context;
}

Status trust_roots(SSL_CTX* ctx, const std::vector<Certificate>& roots) {
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  // An authority may be another one's intermediate, and nothing above it be believed.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  for (const Certificate& root : roots) {
    if (X509_STORE_add_cert(store, root.native()) != 1)
      return fail(ErrorCode::invalid_input,
                  fmt::format("the roots cannot be used: {}", openssl_errors()));
  }
  return {};
}

// `roots`: the one that ends the chain is shown, too.
Status use_identity(SSL_CTX* ctx, const TlsIdentity& identity,
                    const std::vector<Certificate>& roots) {
  const auto chain =
      TRY(read_certificates(identity.certificate_chain_pem, "the certificate for TLS"));
  const crypto::PrivateKey key = TRY(read_key(identity.private_key_pem));
  ERR_clear_error();
  if (SSL_CTX_use_certificate(ctx, chain.front().native()) != 1)
    return fail(ErrorCode::invalid_input,
                fmt::format("the certificate cannot be used: {}", openssl_errors()));
  if (SSL_CTX_use_PrivateKey(ctx, key.native()) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::invalid_input, "the private key is not that of the certificate")
        .hint("both are made together; use the pair");
  }
  for (std::size_t i = 1; i < chain.size(); ++i) SSL_CTX_add1_chain_cert(ctx, chain[i].native());
  X509* const last = chain.back().native();
  if (X509_self_signed(last, 0) == 1) return {};
  for (const Certificate& root : roots) {
    if (X509_check_issued(root.native(), last) != X509_V_OK) continue;
    SSL_CTX_add1_chain_cert(ctx, root.native());
    break;
  }
  ERR_clear_error();
  return {};
}

TlsNotes* notes_of(X509_STORE_CTX* store) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  return static_cast<TlsNotes*>(SSL_get_app_data(ssl));
}

// OpenSSL is C: nothing may be thrown through it.
int verdict(X509_STORE_CTX* store, const std::function<Objection(TlsNotes&)>& check) {
  TlsNotes* notes = notes_of(store);
  if (notes == nullptr) return 0;
  try {
    notes->objection = check(*notes);
    if (notes->objection.empty()) return 1;
    notes->whose = describe(X509_STORE_CTX_get0_cert(store));
  } catch (const std::exception& error) {
    notes->objection.why = fmt::format("cannot be read: {}", error.what());
    X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
  }
  return 0;
}

int verify_client(X509_STORE_CTX* store, void*) {
  return verdict(store,
                 [store](TlsNotes& notes) { return check_chain(store, Use::client, &notes.peer); });
}

// Of what the server has shown, only the pinned root is believed.
Objection check_pinned(X509_STORE_CTX* store, const Digest& pinned) {
  STACK_OF(X509)* shown = X509_STORE_CTX_get0_untrusted(store);
  const std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> roots(
      sk_X509_new_null(), [](STACK_OF(X509) * stack) { sk_X509_free(stack); });
  for (int i = 0; i < sk_X509_num(shown); ++i) {
    X509* one = sk_X509_value(shown, i);
    const auto read = Certificate::from_native(one);
    if (read && read->fingerprint() == pinned && read->is_authority())
      sk_X509_push(roots.get(), one);
  }
  if (sk_X509_num(roots.get()) == 0) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    return {fmt::format("is signed by another authority than the one with the fingerprint {}",
                        pinned.str()),
            "is this the right address, and is the fingerprint of this site?"};
  }
  X509_STORE_CTX_set0_trusted_stack(store, roots.get());
  X509_STORE_CTX_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  return check_chain(store, Use::server);
}

int verify_server(X509_STORE_CTX* store, void* argument) {
  const auto* settings = static_cast<const TlsClientSettings*>(argument);
  return verdict(store, [store, settings](TlsNotes&) {
    return settings->pinned_root ? check_pinned(store, *settings->pinned_root)
                                 : check_chain(store, Use::server);
  });
}

Instant now() { return SystemClock().now(); }

// What a ticket carries beside the session: how long it may be believed. Whatever is renewed from
// it inherits it, so a client must show its certificate anew from time to time.
using Stamp = std::int64_t;

int stamp_ticket(SSL* ssl, void*) {
  SSL_SESSION* session = SSL_get_session(ssl);
  void* data = nullptr;
  std::size_t size = 0;
  if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) == 1 && size == sizeof(Stamp))
    return 1;
  const Stamp until =
      to_millis(std::min(now() + kTicketLife, earliest_end(SSL_get0_verified_chain(ssl))));
  return SSL_SESSION_set1_ticket_appdata(session, &until, sizeof until);
}

// A ticket stands for a certificate that was verified: only as long as that would be again. Else
// the handshake is a full one, which says what is wrong.
SSL_TICKET_RETURN check_ticket(SSL*, SSL_SESSION* session, const unsigned char*, std::size_t,
                               SSL_TICKET_STATUS status, void*) {
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  void* data = nullptr;
  std::size_t size = 0;
  Stamp until = 0;
  if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) == 1 && size == sizeof until)
    std::memcpy(&until, data, sizeof until);
  const X509* peer = SSL_SESSION_get0_peer(session);
  const Instant present = now();
  const bool sound =
      present < from_millis(until) &&
      (peer == nullptr || (not_before_of(peer) <= present && present < not_after_of(peer)));
  return sound ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_IGNORE_RENEW;
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  const auto* notes = static_cast<const TlsNotes*>(SSL_get_app_data(ssl));
  if (notes == nullptr || notes->client == nullptr) return 0;
  const Instant until =
      SSL_session_reused(ssl) == 1
          ? notes->good_until
          : std::min(now() + kTicketLife, earliest_end(SSL_get0_verified_chain(ssl)));
  notes->client->keep(notes->server, session, until);
  return 0;
}

Result<std::shared_ptr<const TlsServerSettings>> server_settings(const TlsIdentity& identity,
                                                                 const TlsTrust& trust,
                                                                 ClientCertificates clients) {
  auto settings = std::make_shared<TlsServerSettings>();
  settings->context = TRY(make_context(tls_library(), TLS_server_method()));
  SSL_CTX* const ctx = settings->context.get();
  const auto roots =
      TRY(read_certificates(trust.roots_pem, "the certificates of trusted authorities"));
  TRYV(trust_roots(ctx, roots));
  TRYV(use_identity(ctx, identity, roots));
  SSL_CTX_set_verify(
      ctx,
      SSL_VERIFY_PEER |
          (clients == ClientCertificates::required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
      nullptr);
  SSL_CTX_set_cert_verify_callback(ctx, verify_client, nullptr);
  constexpr std::array<unsigned char, 7> kContext{'c', 'o', 'n', 's', 'o', 'r', 't'};
  SSL_CTX_set_session_id_context(ctx, kContext.data(), kContext.size());
  // Tickets are all that remains of a session here; OpenSSL makes their keys with the context.
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  // One, and within the handshake: after one that is made later OpenSSL keeps a buffer of 16 kB.
  SSL_CTX_set_num_tickets(ctx, 1);
  SSL_CTX_set_session_ticket_cb(ctx, stamp_ticket, check_ticket, nullptr);
  return settings;
}

Result<std::shared_ptr<TlsClientSettings>> client_settings(const ClientTlsOptions& options) {
  auto settings = std::make_shared<TlsClientSettings>();
  settings->context = TRY(make_context(nullptr, TLS_client_method()));
  settings->pinned_root = options.pinned_root;
  settings->expect = options.expect;
  settings->partition = options.partition;
  settings->controller = options.controller;
  SSL_CTX* const ctx = settings->context.get();
  if (!options.pinned_root) {
    const auto roots =
        TRY(read_certificates(options.trust.roots_pem, "the certificates of trusted authorities"));
    TRYV(trust_roots(ctx, roots));
  }
  if (options.identity) TRYV(use_identity(ctx, *options.identity, {}));
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(ctx, verify_server, settings.get());
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, keep_session);
  return settings;
}

}  // namespace

TlsClientSettings::Kept TlsClientSettings::resume(const std::string& server) {
  const std::lock_guard lock(mutex);
  const auto found = sessions.find(server);
  if (found == sessions.end()) return {};
  const Kept& kept = found->second;
  const X509* peer = SSL_SESSION_get0_peer(kept.session.get());
  if (kept.good_until <= now() || peer == nullptr || not_after_of(peer) <= now()) {
    sessions.erase(found);
    return {};
  }
  return {SslSession(SSL_SESSION_dup(kept.session.get())), kept.good_until};
}

void TlsClientSettings::keep(const std::string& server, const SSL_SESSION* session,
                             Instant good_until) {
  SslSession copy(SSL_SESSION_dup(session));
  if (copy == nullptr) return;
  const std::lock_guard lock(mutex);
  if (sessions.size() >= kSessions && !sessions.contains(server)) sessions.erase(sessions.begin());
  sessions.insert_or_assign(server, Kept{std::move(copy), good_until});
}

void TlsClientSettings::forget(const std::string& server) {
  const std::lock_guard lock(mutex);
  sessions.erase(server);
}

Result<std::shared_ptr<ServerTls>> ServerTls::create(const TlsIdentity& identity,
                                                     const TlsTrust& trust,
                                                     ClientCertificates clients) {
  auto made = TRY(server_settings(identity, trust, clients));
  return std::shared_ptr<ServerTls>(new ServerTls(std::move(made), clients));
}

Status ServerTls::replace(const TlsIdentity& identity, const TlsTrust& trust) {
  auto made = TRY(server_settings(identity, trust, clients_));
  const std::lock_guard lock(mutex_);
  settings_ = std::move(made);
  return {};
}

std::shared_ptr<const TlsServerSettings> ServerTls::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

Result<std::shared_ptr<ClientTls>> ClientTls::create(const ClientTlsOptions& options) {
  auto made = TRY(client_settings(options));
  return std::shared_ptr<ClientTls>(new ClientTls(std::move(made)));
}

Result<std::shared_ptr<ClientTls>> ClientTls::of_this_machine() {
  auto settings = std::make_shared<TlsClientSettings>();
  settings->context = TRY(make_context(nullptr, TLS_client_method()));
  settings->expect = ServerCheck::host_name;
  SSL_CTX* const ctx = settings->context.get();
  SSL_CTX_set_default_verify_paths(ctx);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(ctx, verify_server, settings.get());
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, keep_session);
  return std::shared_ptr<ClientTls>(new ClientTls(std::move(settings)));
}

Status ClientTls::replace(const ClientTlsOptions& options) {
  auto made = TRY(client_settings(options));
  const std::lock_guard lock(mutex_);
  settings_ = std::move(made);
  return {};
}

std::shared_ptr<TlsClientSettings> ClientTls::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

}  // namespace consort::http
