#include "agent/removals.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/secret_source.h"
#include "base/text.h"

namespace consort::agent {

Result<std::vector<Json>> Removals::read() const {
  std::vector<Json> out;
  std::error_code ec;
  if (!fs::exists(file_, ec)) return out;
  for (const std::string& line : split(TRY(read_file(file_)), '\n')) {
    // A torn last line: what it names was not removed yet.
    if (auto record = parse_json(line)) out.push_back(std::move(*record));
  }
  return out;
}

Result<Json> Removals::capture(const Context& context, const std::string& path,
                               std::uint64_t& used) const {
  const Entry entry = TRY(context.files.look(path));
  const bool file = entry.kind == EntryKind::file;
  const bool fits = !file || entry.stamp.size <= most_bytes_ - std::min(used, most_bytes_);
  Json before = Json::object({{"kind", entry_kind_name(entry.kind)}});
  if (fits) before = TRY(capture_path(context, path));
  before["size"] = file ? entry.stamp.size : 0;
  if (file && fits) used += entry.stamp.size;
  return Json::object({{"path", path}, {"before", before}});
}

Status Removals::keep(const Context& context, const std::vector<std::string>& paths) {
  if (paths.empty()) return {};
  const std::lock_guard lock(mutex_);
  std::uint64_t used = 0;
  for (const Json& record : TRY(read())) {
    const Json* before = record.find("before");
    if (before != nullptr && before->find("backup") != nullptr)
      used += static_cast<std::uint64_t>(before->int_or("size"));
  }
  // A torn line of an earlier life must not swallow the first of these.
  std::string lines = "\n";
  for (const std::string& path : paths) lines += TRY(capture(context, path, used)).dump() + "\n";
  TRYV(make_folders(file_.parent_path(), 0700));
  const Fd fd(::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail_errno(errno, fmt::format("cannot write {}", file_.string()));
  TRYV(write_all(fd.get(), lines, file_.string()));
  if (::fsync(fd.get()) != 0)
    return fail_errno(errno, fmt::format("cannot write {}", file_.string()));
  return fsync_folder(file_.parent_path());
}

Result<std::vector<std::string>> Removals::bring_back(const Context& context) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lost;
  const std::vector<Json> records = TRY(read());
  // Children went before their parents.
  for (auto it = records.rbegin(); it != records.rend(); ++it) {
    const std::string path = it->string_or("path");
    const Json* before = it->find("before");
    const std::string kind = before == nullptr ? "" : before->string_or("kind");
    const auto now = context.files.look(path);
    if (kind == "absent" || (now && now->kind != EntryKind::absent)) continue;
    Status status;
    if (kind == "file" && before->find("backup") == nullptr) {
      const bool secret = context.secrets != nullptr && context.secrets->is_tainted(path);
      status = fail(ErrorCode::too_large, secret ? "it held a secret, of which no copy is kept"
                                                 : fmt::format("its {} bytes were too many to keep",
                                                               before->int_or("size")));
    } else if (kind == "file" || kind == "directory" || kind == "symlink") {
      status = revert_path(context, *it);
    } else {
      status = fail(ErrorCode::unsupported, "it was no file, directory or link");
    }
    if (!status) lost.push_back(fmt::format("{} ({})", path, status.error().message()));
  }
  return lost;
}

Status Removals::forget() {
  const std::lock_guard lock(mutex_);
  return remove_tree(file_);
}

}  // namespace consort::agent
