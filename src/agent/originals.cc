#include "agent/originals.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "agent/ledger.h"
#include "agent/resources/daemon.h"
#include "agent/secret_source.h"
#include "agent/supervisors/supervisor.h"
#include "base/log.h"
#include "base/text.h"
#include "objects/store.h"

namespace consort::agent {
namespace {

constexpr std::string_view kPaths = "paths.jsonl";
constexpr std::string_view kDaemon = "daemon:";
constexpr std::size_t kMostRecordBytes = 1U << 20U;  // of a command

// Every write of a content makes another file or another time; a change of mode or owner does
// neither.
bool has_same_content(const Stamp& stamp, const Json& before) {
  return before.string_or("inode") == std::to_string(stamp.inode) &&
         before.int_or("size") == static_cast<std::int64_t>(stamp.size) &&
         before.int_or("modified") == stamp.modified;
}

// What is remembered is of a path, or of a command's own record.
std::string path_of(const Json& record) { return bytes_from_json(record.find("path")); }
std::string name_of(const Json& record) {
  std::string path = path_of(record);
  return path.empty() ? record.string_or("record") : path;
}

// What else is known of a path besides what was there.
struct Later {
  std::vector<std::string> asides;  // one of them exists when it was moved out of the way
  bool written = false;             // it was purged, and then written by us again
};

// Puts one path back.
class Return {
 public:
  Return(const Context& context, const Json& record, const Later& later)
      : context_(context),
        record_(record),
        before_(*record.find("before")),
        path_(path_of(record)),
        later_(later) {}

  Status run() {
    if (path_.starts_with(kDaemon)) return daemon();
    const std::string kind = before_.string_or("kind");
    Entry now = TRY(context_.files.look(path_));
    for (const std::string& aside : later_.asides) {
      if (TRY(context_.files.look(aside)).kind == EntryKind::absent) continue;
      if (now.kind != EntryKind::absent) TRYV(context_.files.remove(path_));
      TRYV(context_.files.rename(aside, path_));
      now = TRY(context_.files.look(path_));
      break;
    }
    if (before_.bool_or("purged") && !later_.written && now.kind != EntryKind::absent) return {};
    const bool same_kind = entry_kind_name(now.kind) == kind;
    if (!before_.bool_or("content", true))
      return same_kind ? set_metadata(now) : Status();  // a later record tells of its content
    if (kind == "absent") return same_kind ? Status() : revert_path(context_, record_);
    if (kind == "file" && same_kind && TRY(is_untouched(now))) return set_metadata(now);
    if (kind == "directory" && same_kind) return set_metadata(now);
    if (kind == "symlink" && same_kind && now.target == bytes_from_json(before_.find("target")))
      return {};
    if (kind != "file" && kind != "directory" && kind != "symlink")
      return same_kind ? Status()
                       : Status(fail(ErrorCode::unsupported, "it was no file, directory or link"));
    if (kind == "file" && before_.find("backup") == nullptr) return no_copy();
    // No file takes the place of a directory, nor the other way round.
    const bool other_shape = (now.kind == EntryKind::directory) != (kind == "directory");
    if (now.kind != EntryKind::absent && other_shape) TRYV(context_.files.remove(path_));
    return revert_path(context_, record_);
  }

 private:
  Status daemon() const {
    if (before_.string_or("kind") != "absent")
      return fail(ErrorCode::unsupported, "it was there before, in another form");
    return revert_daemon(context_, record_);
  }

  [[nodiscard]] Result<bool> is_untouched(const Entry& now) const {
    if (has_same_content(now.stamp, before_)) return true;
    const auto known = Digest::parse(before_.string_or("backup", before_.string_or("digest")));
    if (!known || before_.int_or("size") != static_cast<std::int64_t>(now.stamp.size)) return false;
    return TRY(context_.files.digest(path_)) == *known;
  }

  Status set_metadata(const Entry& now) const {
    const Metadata meta = captured_metadata(before_);
    if (now.kind == EntryKind::symlink) return {};
    if (now.mode() == *meta.mode && now.stamp.uid == *meta.uid && now.stamp.gid == *meta.gid)
      return {};
    return context_.files.set_metadata(path_, meta);
  }

  [[nodiscard]] Status no_copy() const {
    const bool secret = before_.find("digest") == nullptr;
    return fail(ErrorCode::too_large,
                secret ? "it held a secret, of which no copy is kept"
                       : fmt::format("its {} bytes were too many to keep", before_.int_or("size")));
  }

  const Context& context_;
  const Json& record_;
  const Json& before_;
  std::string path_;
  const Later& later_;
};

Status return_record(const Json& record) {
  const fs::path file = record.string_or("record");
  const Json* before = record.find("before");
  if (before == nullptr || !before->is_string()) return remove_tree(file);
  return write_file_atomic(file, before->as_string(), 0600);
}

}  // namespace

// --- what is on the disk
// ------------------------------------------------------------------------------------------

Result<std::vector<Json>> Originals::read(const fs::path& folder) {
  std::vector<Json> out;
  const auto text = read_file(folder / kPaths, kMostBytes);
  if (!text && text.error().code() == ErrorCode::not_found) return out;
  if (!text) return tl::unexpected<Error>(text.error());
  for (const std::string& line : split(*text, '\n')) {
    // A torn last line: what it names was not changed yet.
    if (auto record = parse_json(line); record && record->is_object())
      out.push_back(std::move(*record));
  }
  return out;
}

Result<std::set<Digest>> Originals::backups_of(const fs::path& folder) {
  std::set<Digest> out = TRY(Ledger::backups_of(folder / "ledger.jsonl"));
  for (const Json& record : TRY(read(folder))) {
    const Json* before = record.find("before");
    if (before == nullptr || !before->is_object()) continue;
    if (const auto backup = Digest::parse(before->string_or("backup"))) out.insert(*backup);
  }
  return out;
}

Status Originals::load() {
  if (loaded_) return {};
  step_.clear();
  known_.clear();
  used_ = 0;
  for (const Json& record : TRY(read(folder_))) {
    if (const Json* step = record.find("step"); step != nullptr && step->is_string())
      step_ = step->as_string();
    const Json* before = record.find("before");
    const std::string path = name_of(record);
    if (record.bool_or("written")) known_[path] = Change::any;
    if (before == nullptr || path.empty()) continue;
    const bool whole = !before->is_object() || before->bool_or("content", true);
    known_[path] = !whole                                             ? Change::metadata
                   : before->is_object() && before->bool_or("purged") ? Change::purge
                                                                      : Change::any;
    if (before->is_object() && before->find("backup") != nullptr)
      used_ += static_cast<std::uint64_t>(before->int_or("size"));
  }
  loaded_ = true;
  return {};
}

Status Originals::begin(const std::string& step, const fs::path& ledger) {
  const std::lock_guard lock(mutex_);
  TRYV(load());
  if (step_ == step) return {};
  loaded_ = false;
  TRYV(remove_tree(folder_));
  TRYV(make_folders(folder_, 0700));
  TRYV(write_file_atomic(this->ledger(), TRY(read_file(ledger, kMostBytes)), 0600));
  // Last: whoever finds it finds the ledger, too.
  TRYV(write_file_atomic(folder_ / kPaths, Json::object({{"step", step}}).dump() + "\n", 0600));
  return load();
}

Result<bool> Originals::belong_to(const std::string& step) {
  const std::lock_guard lock(mutex_);
  TRYV(load());
  return !step.empty() && step_ == step;
}

Status Originals::append(const std::vector<Json>& records) {
  // A torn line of an earlier life must not swallow the first of these.
  std::string lines = "\n";
  for (const Json& record : records) lines += record.dump() + "\n";
  const fs::path file = folder_ / kPaths;
  const Fd fd(::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, fmt::format("cannot write {}", file.string()));
  TRYV(write_all(fd.get(), lines, file.string()));
  if (::fdatasync(fd.get()) != 0)
    return fail_errno(errno, fmt::format("cannot write {}", file.string()));
  return {};
}

// At once or not at all: half of them would be no way back. What is left of it goes with the next.
Status Originals::forget() {
  const std::lock_guard lock(mutex_);
  const fs::path going = folder_.string() + ".going";
  TRYV(remove_tree(going));
  if (::rename(folder_.c_str(), going.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, fmt::format("cannot remove {}", folder_.string()));
  loaded_ = false;
  known_.clear();
  if (const Status gone = remove_tree(going); !gone) log_warn("{}", gone.error().message());
  return {};
}

// --- before a change
// ----------------------------------------------------------------------------------------------

bool Originals::is_own(const Context& context, const std::string& path) const {
  const std::string real = context.files.host_path(path).string();
  const std::string own = own_.string() + "/";
  const std::string data = own + "data";
  return real.starts_with(own) && real != data && !real.starts_with(data + "/");
}

Result<Json> Originals::capture(const Context& context, const std::string& path, Change change,
                                std::uint64_t& used) const {
  const Entry entry = TRY(context.files.look(path));
  const bool file = entry.kind == EntryKind::file;
  const bool whole = change != Change::metadata;
  const bool fits = !file || entry.stamp.size <= most_bytes_ - std::min(used, most_bytes_);
  Context here = context;
  if (!whole || !fits) here.backups = nullptr;
  Json before = TRY(capture_path(here, path));
  if (file) {
    before["inode"] = std::to_string(entry.stamp.inode);
    before["size"] = entry.stamp.size;
    before["modified"] = entry.stamp.modified;
  }
  if (!whole) before["content"] = false;
  if (change == Change::purge) before["purged"] = true;
  if (file && whole && !fits && (context.secrets == nullptr || !context.secrets->is_tainted(path)))
    before["digest"] = TRY(context.files.digest(path)).str();
  if (before.find("backup") != nullptr) used += entry.stamp.size;
  return Json::object({{"path", bytes_to_json(path)}, {"before", before}});
}

Status Originals::keep(const Context& context, const std::vector<std::string>& paths,
                       Change change) {
  const std::lock_guard lock(mutex_);
  TRYV(load());
  std::map<std::string, Change> fresh;
  std::vector<Json> records;
  std::uint64_t used = used_;
  for (const std::string& path : paths) {
    const auto it = known_.find(path);
    const bool known = it != known_.end() && it->second >= change;
    if (known || is_own(context, path) || !fresh.emplace(path, change).second) continue;
    records.push_back(TRY(capture(context, path, change, used)));
  }
  if (records.empty()) return {};
  TRYV(append(records));
  for (const auto& [path, how] : fresh) known_.insert_or_assign(path, how);
  used_ = used;
  return {};
}

Status Originals::keep_daemon(const Context& context, const std::string& name) {
  const std::string path = std::string(kDaemon) + name;
  const std::lock_guard lock(mutex_);
  TRYV(load());
  if (known_.contains(path) || context.supervisor == nullptr) return {};
  const bool known = TRY(context.supervisor->status(name)).known;
  const Json before = Json::object({{"kind", known ? "daemon" : "absent"}});
  TRYV(append({Json::object({{"path", path}, {"before", before}})}));
  known_.emplace(path, Change::any);
  return {};
}

Status Originals::keep_record(const fs::path& file) {
  const std::lock_guard lock(mutex_);
  TRYV(load());
  if (known_.contains(file.string())) return {};
  const auto text = read_file(file, kMostRecordBytes);
  TRYV(
      append({Json::object({{"record", file.string()}, {"before", text ? Json(*text) : Json()}})}));
  known_.emplace(file.string(), Change::any);
  return {};
}

Status Originals::note_written(const std::string& path) {
  const std::lock_guard lock(mutex_);
  TRYV(load());
  const auto it = known_.find(path);
  if (it == known_.end() || it->second != Change::purge) return {};
  TRYV(append({Json::object({{"path", bytes_to_json(path)}, {"written", true}})}));
  it->second = Change::any;
  return {};
}

Status Originals::note_aside(const std::string& path, const std::string& aside) {
  const std::lock_guard lock(mutex_);
  return append({Json::object({{"path", bytes_to_json(path)}, {"aside", bytes_to_json(aside)}})});
}

// --- the way back
// -------------------------------------------------------------------------------------------------

Result<std::vector<Originals::Lost>> Originals::bring_back(const Context& context,
                                                           const std::set<std::string>& only) {
  const std::lock_guard lock(mutex_);
  std::vector<Lost> lost;
  const std::vector<Json> records = TRY(read(folder_));
  std::map<std::string, Later> later;
  for (const Json& record : records) {
    if (std::string aside = bytes_from_json(record.find("aside")); !aside.empty())
      later[path_of(record)].asides.push_back(std::move(aside));
    if (record.bool_or("written")) later[path_of(record)].written = true;
  }
  // Backwards: children went before their parents, and came after them.
  for (auto it = records.rbegin(); it != records.rend(); ++it) {
    if (it->find("before") == nullptr) continue;
    const std::string path = name_of(*it);
    if (!only.empty() && !only.contains(path)) continue;
    const Status status = it->find("record") != nullptr ? return_record(*it)
                                                        : Return(context, *it, later[path]).run();
    if (status) continue;
    // A directory that is not empty because of what was named already says nothing new.
    const bool holds_lost = status.error().code() == ErrorCode::conflict &&
                            std::any_of(lost.begin(), lost.end(), [&](const Lost& item) {
                              return item.path.starts_with(path + "/");
                            });
    if (holds_lost) continue;
    lost.push_back({path, status.error().message()});
  }
  return lost;
}

}  // namespace consort::agent
