// What certificates say, for people and for Peer. Private to this room; no state.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "crypto/certificates.h"
#include "http/message.h"

namespace consort::http {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using SslContext = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, Freed<SSL_free>>;
using SslSession = std::unique_ptr<SSL_SESSION, Freed<SSL_SESSION_free>>;

[[nodiscard]] Instant not_before_of(const X509* certificate);
[[nodiscard]] Instant not_after_of(const X509* certificate);
// The earliest end of all that `chain` rests on.
[[nodiscard]] Instant earliest_end(const STACK_OF(X509) * chain);
// "consort://main/host/web1 (serial 4f…)"; without an identity its subject.
[[nodiscard]] std::string describe(X509* certificate);
// Adds to `peer` what this verified certificate says.
void tell(const crypto::Certificate& certificate, Peer& peer);

// Why a certificate is not accepted; empty: it is. `why` completes "the certificate of … ".
struct Objection {
  std::string why;
  std::string hint;
  [[nodiscard]] bool empty() const { return why.empty(); }
};
enum class Use : std::uint8_t { client, server };
// Checks the chain in `store` for this use, by the roots that are in it. The X.509 error stays in
// `store`, and becomes the alert that the peer gets. `read`: what the certificate says, once it is
// accepted, so that nobody needs to read it again.
[[nodiscard]] Objection check_chain(X509_STORE_CTX* store, Use use,
                                    std::optional<crypto::Certificate>* read = nullptr);

// The texts of OpenSSL's queue of errors on this thread, which is empty afterwards.
[[nodiscard]] std::string openssl_errors();

}  // namespace consort::http
