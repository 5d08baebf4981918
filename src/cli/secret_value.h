// Where the values of secrets come from: standard input, a file, a terminal, or what the site
// declares. No error tells anything of a value. Not thread-safe.
#pragma once

#include <string>

#include "cli/command.h"
#include "crypto/keys.h"
#include "crypto/secret.h"
#include "site/site.h"

namespace consort::cli {

// By --file and --exact. Errors: usage (an empty value), too_large, io.
[[nodiscard]] Result<crypto::SecretBytes> read_value(const Arguments& arguments);
[[nodiscard]] const Option& exact_option();

// Of a secret that the site declares: runs its program or opens its file, on this machine. `folder`
// is the site's. Errors: unavailable (the program failed), timeout, too_large, invalid_input (no
// value), refused (the file is not for this key), io.
[[nodiscard]] Result<crypto::SecretBytes> value_of_source(const std::string& name,
                                                          const site::SecretSource& source,
                                                          const fs::path& folder,
                                                          const crypto::PrivateKey& recovery);
// In which files of a site are sealed: "file/NAME". One cannot be taken for another.
[[nodiscard]] std::string file_context(const std::string& name);

}  // namespace consort::cli
