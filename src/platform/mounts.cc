#include "platform/mounts.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

#include "base/text.h"

namespace consort::platform {
namespace {

// proc(5): spaces and such are written as \ooo.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(std::strtol(std::string(text.substr(i + 1, 3)).c_str(), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<std::vector<std::string>> mounted_below(const fs::path& folder) {
  const std::string prefix = folder.string();
  std::vector<std::string> out;
  for (const std::string& line : split(TRY(read_file("/proc/self/mountinfo")), '\n')) {
    const std::vector<std::string> fields = split(line, ' ');
    if (fields.size() < 5) continue;
    const std::string at = unescaped(fields[4]);
    if (at == prefix || at.starts_with(prefix + "/")) out.push_back(at);
  }
  return out;
}

}  // namespace

Status mount_tmpfs(const fs::path& at) {
  TRYV(make_folders(at));
  if (::mount("consort-lab", at.c_str(), "tmpfs", 0, "mode=0755") != 0)
    return fail_errno(errno, fmt::format("cannot mount a tmpfs at {}", at.string()));
  return {};
}

Status mount_overlay(const fs::path& lower, const fs::path& upper, const fs::path& work,
                     const fs::path& at) {
  for (const fs::path& folder : {upper, work, at}) TRYV(make_folders(folder));
  for (const fs::path& folder : {lower, upper, work}) {
    if (folder.string().find_first_of(",:\\") != std::string::npos) {
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: a lab's folder may not contain ',', ':' or '\\'",
                              folder.string()))
          .hint("choose another --dir");
    }
  }
  const std::string options = fmt::format("lowerdir={},upperdir={},workdir={}", lower.string(),
                                          upper.string(), work.string());
  if (::mount("consort-lab", at.c_str(), "overlay", 0, options.c_str()) != 0)
    return fail_errno(errno, fmt::format("cannot mount an overlay at {}", at.string()));
  return {};
}

Status unmount_below(const fs::path& folder) {
  std::vector<std::string> left = TRY(mounted_below(folder));
  for (auto it = left.rbegin(); it != left.rend(); ++it) {
    if (::umount2(it->c_str(), UMOUNT_NOFOLLOW) == 0) continue;
    // Somebody looks at it: it goes when they leave.
    if (::umount2(it->c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) != 0 && errno != EINVAL)
      return fail_errno(errno, fmt::format("cannot unmount {}", *it));
  }
  left = TRY(mounted_below(folder));
  if (!left.empty())
    return fail(ErrorCode::io, fmt::format("{} is still mounted", left.back()))
        .hint("try again: consort lab down");
  return {};
}

}  // namespace consort::platform
