// What this operator has seen of a site, and signed: a controller that shows less hides something,
// or its store was restored from an older backup. Below ${XDG_CONFIG_HOME:-~/.config}/consort/seen,
// by the site and partition of a trust list: SITE@PARTITION holds the number of a statement,
// SITE@PARTITION.secrets the versions of secrets. Errors of all: io, corrupt. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/error.h"
#include "signing/trust_list.h"

namespace consort::cli {

// The newest statement in force; 0: none.
[[nodiscard]] Result<std::uint64_t> last_seen_statement(const signing::TrustList& list);
[[nodiscard]] Status remember_statement(const signing::TrustList& list, std::uint64_t sequence);

// The newest version of a secret that this operator has signed, itself or in a deploy that uses it;
// 0: none.
[[nodiscard]] Result<std::uint64_t> last_seen_secret(const signing::TrustList& list,
                                                     const std::string& name);
// `versions`: those that the controller calls the newest. An older one than was signed would bring
// a value back that was changed. Error forbidden, with the first.
[[nodiscard]] Status check_secret_versions(const signing::TrustList& list,
                                           const std::map<std::string, std::uint64_t>& versions);
[[nodiscard]] Status remember_secret_versions(const signing::TrustList& list,
                                              const std::map<std::string, std::uint64_t>& versions);

}  // namespace consort::cli
