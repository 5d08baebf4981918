#include "agent/originals.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/ledger.h"
#include "agent/resources/daemon.h"
#include "agent/secret_source.h"
#include "agent/supervisors/supervisor.h"
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

Metadata metadata_of(const Json& before) {
  Metadata out;
  out.mode =
      static_cast<mode_t>(std::strtoul(before.string_or("mode", "0600").c_str(), nullptr, 8));
  out.uid = static_cast<uid_t>(before.int_or("uid"));
  out.gid = static_cast<gid_t>(before.int_or("gid"));
  return out;
}

// Puts one path back.
class Return {
 public:
  Return(const Context& context, const Json& record, std::string aside)
      : context_(context),
        record_(record),
        before_(*record.find("before")),
        path_(record.string_or("path")),
        aside_(std::move(aside)) {}

  Status run() {
    if (path_.starts_with(kDaemon)) return daemon();
    const std::string kind = before_.string_or("kind");
    Entry now = TRY(context_.files.look(path_));
    if (!aside_.empty() && TRY(context_.files.look(aside_)).kind != EntryKind::absent) {
      if (now.kind != EntryKind::absent) TRYV(context_.files.remove(path_));
      TRYV(context_.files.rename(aside_, path_));
      now = TRY(context_.files.look(path_));
    }
    if (before_.bool_or("purged") && now.kind != EntryKind::absent) return {};
    const bool same_kind = entry_kind_name(now.kind) == kind;
    if (!before_.bool_or("content", true))
      return same_kind ? set_metadata(now) : Status();  // a later record tells of its content
    if (kind == "absent") return same_kind ? Status() : revert_path(context_, record_);
    if (kind == "file" && same_kind && TRY(is_untouched(now))) return set_metadata(now);
    if (kind == "directory" && same_kind) return set_metadata(now);
    if (kind == "symlink" && same_kind && now.target == before_.string_or("target")) return {};
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
    const Metadata meta = metadata_of(before_);
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
  std::string aside_;
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
    const std::string path = record.string_or("path", record.string_or("record"));
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

Status Originals::forget() {
  const std::lock_guard lock(mutex_);
  loaded_ = false;
  known_.clear();
  return remove_tree(folder_);
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
  return Json::object({{"path", path}, {"before", before}});
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

Status Originals::note_aside(const std::string& path, const std::string& aside) {
  const std::lock_guard lock(mutex_);
  return append({Json::object({{"path", path}, {"aside", aside}})});
}

// --- the way back
// -------------------------------------------------------------------------------------------------

Result<std::vector<Originals::Lost>> Originals::bring_back(const Context& context,
                                                           const std::set<std::string>& only) {
  const std::lock_guard lock(mutex_);
  std::vector<Lost> lost;
  const std::vector<Json> records = TRY(read(folder_));
  std::map<std::string, std::string> asides;
  for (const Json& record : records) {
    if (const std::string aside = record.string_or("aside"); !aside.empty())
      asides.emplace(record.string_or("path"), aside);
  }
  // Backwards: children went before their parents, and came after them.
  for (auto it = records.rbegin(); it != records.rend(); ++it) {
    if (it->find("before") == nullptr) continue;
    const std::string path = it->string_or("path");
    if (!only.empty() && !only.contains(path)) continue;
    Status status;
    if (path.empty()) {
      status = return_record(*it);
    } else {
      const auto aside = asides.find(path);
      status = Return(context, *it, aside == asides.end() ? "" : aside->second).run();
    }
    if (status) continue;
    // A directory that is not empty because of what was named already says nothing new.
    const bool holds_lost = status.error().code() == ErrorCode::conflict &&
                            std::any_of(lost.begin(), lost.end(), [&](const Lost& item) {
                              return item.path.starts_with(path + "/");
                            });
    if (holds_lost) continue;
    lost.push_back({path.empty() ? it->string_or("record") : path, status.error().message()});
  }
  return lost;
}

}  // namespace consort::agent
