// Where this agent's controller is and how it speaks to it. A value; thread-safe.
#pragma once

#include <memory>
#include <string>

#include "http/client.h"
#include "http/tls.h"

namespace consort::agent {

struct Upstream {
  std::string url;                         // empty: never connected
  std::shared_ptr<http::ClientTls> tls{};  // null: plain http (a controller with --insecure)

  // Errors as http::Client::create().
  [[nodiscard]] Result<http::Client> client(http::ClientOptions options = {}) const {
    options.tls = tls;
    return http::Client::create(url, std::move(options));
  }
};

}  // namespace consort::agent
