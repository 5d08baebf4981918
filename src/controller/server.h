// The controller process: the core on an event loop, its store, the object store and the HTTP API.
// docs/reference/api.md describes every route.
#pragma once

#include <string>
#include <vector>

#include "base/files.h"
#include "base/time.h"

namespace consort::controller {

struct ServerOptions {
  fs::path data;                    // made when absent; holds state.sqlite and objects/
  std::vector<std::string> listen;  // "127.0.0.1:8440"
  bool insecure_listen = false;     // beyond loopback without TLS
  fs::path port_file;               // where to write the URL once it listens; "" for nowhere
};

// Blocks until SIGINT or SIGTERM. Errors: locked (another controller uses the folder), io (address
// in use), refused (an address beyond loopback without insecure_listen), corrupt.
[[nodiscard]] Status run_controller(const ServerOptions& options);

}  // namespace consort::controller
