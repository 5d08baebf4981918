// Opening what is meant to be a file, and is one.
#pragma once

#include <sys/types.h>

#include "base/files.h"

namespace consort {

// "file", "directory", "FIFO", "socket", "device": for messages.
[[nodiscard]] std::string_view file_kind(mode_t mode);

// Opens a regular file for reading; read_file() does it too. Anything else is invalid_input: a FIFO
// or a device may have no end, or never a beginning. Errors: invalid_input, not_found, io.
[[nodiscard]] Result<Fd> open_file(const fs::path& path);

}  // namespace consort
