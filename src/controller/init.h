// The first steps of a new controller, done once, on its machine: its authority and the first
// admin.
#pragma once

#include <string>

#include "controller/authority.h"

namespace consort::controller {

struct Initialised {
  std::string authority_pem;
  std::string fingerprint;  // "sha256:…", of the authority's certificate
  std::string admin;        // name, certificate and key of the first admin
  std::string certificate_pem;
  std::string key_pem;
};

// Errors: conflict (there is an authority already), locked (a controller uses the folder),
// invalid_input, io.
[[nodiscard]] Result<Initialised> initialise_controller(const fs::path& data,
                                                        const AuthorityOptions& options,
                                                        const std::string& admin,
                                                        const Clock& clock);

}  // namespace consort::controller
