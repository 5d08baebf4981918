// Files of environment variables: NAME=VALUE lines as POSIX shells and systemd's EnvironmentFile=
// read them. Values are as secret as the file.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace consort::agent {

inline constexpr std::size_t kEnvironmentFileLimit = 1U << 20U;

// Empty lines and those that begin with '#' or ';' are comments. A value may be quoted, in parts:
// '…' is literal, in "…" and outside of quotes a backslash takes what follows it literally; blanks
// around an unquoted value are left out. Nothing is expanded. Error invalid_input with the number
// of the line, never with what it holds.
[[nodiscard]] Result<std::map<std::string, std::string>> parse_environment_file(
    std::string_view text);

}  // namespace consort::agent
