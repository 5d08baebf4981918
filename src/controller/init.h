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

// Whether a controller can be initialised in this folder: there is nothing of an authority and
// nobody knows an earlier one; or an initialisation that was ended halfway is to go on, or a lost
// names.json to be made anew. Nothing that is there is written over. Errors: conflict and not_found
// with the command that cures; locked (a controller uses the folder).
[[nodiscard]] Status check_initialisable(const fs::path& data, const AuthorityOptions& options,
                                         const Clock& clock);

// Goes on where an earlier call was ended. A folder that is there is closed to others, where it has
// nothing else in it. Errors as of check_initialisable() and AuthorityFolder::create(),
// invalid_input, io; refused (others can read the folder, and it is not only a controller's).
[[nodiscard]] Result<Initialised> initialise_controller(const fs::path& data,
                                                        const AuthorityOptions& options,
                                                        const std::string& admin,
                                                        const Clock& clock);

// A new credential for an admin, from the authority that is there: for who has lost theirs, or let
// it expire. `unlock` as in AuthorityOptions. It is written to the audit log. Errors: not_found (no
// authority), locked (the controller runs), refused (the passphrase), invalid_input, io.
[[nodiscard]] Result<Initialised> recover_admin(const fs::path& data, const fs::path& unlock,
                                                const std::string& admin, const Clock& clock);

}  // namespace consort::controller
