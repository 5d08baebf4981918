// The controller process: the core on an event loop, its store, the object store and the HTTP API.
// docs/reference/api.md describes every route.
#pragma once

#include <string>
#include <vector>

#include "base/files.h"
#include "base/time.h"

namespace consort::controller {

struct ServerOptions {
  fs::path data;                    // made when absent; holds state.sqlite, objects/ and authority/
  std::vector<std::string> listen;  // "127.0.0.1:8440"
  bool insecure = false;            // no TLS and no questions asked; on loopback only
  fs::path unlock;     // the passphrase of the authority's key; "": DATA/authority/unlock
  fs::path port_file;  // where to write the URL once it listens; "" for nowhere
};

// Blocks until SIGINT or SIGTERM. Errors: locked (another controller uses the folder), io (address
// in use), refused (an address beyond loopback with insecure), not_found (no authority), corrupt.
[[nodiscard]] Status run_controller(const ServerOptions& options);

}  // namespace consort::controller
