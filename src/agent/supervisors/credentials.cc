#include "agent/supervisors/credentials.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/secret.h"

namespace consort::agent {
namespace {

fs::path own_place(const fs::path& folder) { return folder / "credentials"; }
// The same at each start, so that a killed shim leaves nothing that is not found again.
fs::path place_in_run(const fs::path& folder) {
  return fs::path("/run/consort-credentials") / Digest::of(folder.string()).hex().substr(0, 32);
}

Status hand_over(const fs::path& path, const DaemonSpec& spec, mode_t mode) {
  if (spec.uid && ::chown(path.c_str(), *spec.uid, spec.gid.value_or(gid_t(-1))) != 0)
    return fail_errno(errno, "cannot give away " + path.string());
  if (::chmod(path.c_str(), mode) != 0)
    return fail_errno(errno, "cannot set the mode of " + path.string());
  return {};
}

Result<fs::path> make_place(const DaemonSpec& spec, const fs::path& folder) {
  const fs::path place = spec.uid ? place_in_run(folder) : own_place(folder);
  TRYV(make_folders(place.parent_path(), spec.uid ? 0711 : 0700));
  TRYV(make_folders(place, 0700));
  for (const auto& [name, file] : spec.credentials) {
    // The daemon's user may own the folder: what is in it must not lead to a file of ours.
    auto text = read_file_no_foreign_links(file, kCredentialLimit);
    if (!text)
      return fail(text.error().code(),
                  fmt::format("the credential {}: {}", name, text.error().message()));
    const Status written = write_file_atomic(place / name, *text, 0400, Durability::cached);
    crypto::wipe(*text);
    TRYV(written);
    TRYV(hand_over(place / name, spec, 0400));
  }
  TRYV(hand_over(place, spec, 0500));
  return place;
}

}  // namespace

Result<fs::path> lay_out_credentials(const DaemonSpec& spec, const fs::path& folder) {
  remove_credentials(folder);
  auto place = make_place(spec, folder);
  if (!place) remove_credentials(folder);
  return place;
}

void remove_credentials(const fs::path& folder) {
  std::error_code ec;
  for (const fs::path& place : {own_place(folder), place_in_run(folder)}) {
    ::chmod(place.c_str(), 0700);
    fs::remove_all(place, ec);
  }
}

}  // namespace consort::agent
