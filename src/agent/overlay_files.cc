#include "agent/overlay_files.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

namespace consort::agent {
namespace {

// Overlay entries have no inode; a stamp of their own keeps them from ever matching recorded
// evidence.
Stamp imagined(mode_t type, const Metadata& meta, mode_t mode, std::uint64_t size) {
  Stamp out;
  out.size = size;
  out.mode = type | meta.mode.value_or(mode);
  out.uid = meta.uid.value_or(::geteuid());
  out.gid = meta.gid.value_or(::getegid());
  return out;
}

void overwrite(Stamp& stamp, const Metadata& meta) {
  if (meta.mode) stamp.mode = (stamp.mode & S_IFMT) | *meta.mode;
  if (meta.uid) stamp.uid = *meta.uid;
  if (meta.gid) stamp.gid = *meta.gid;
  stamp.inode = 0;
}

}  // namespace

const OverlayFiles::Change* OverlayFiles::find(const std::string& path) const {
  const auto it = changes_.find(path);
  return it == changes_.end() ? nullptr : &it->second;
}

bool OverlayFiles::hidden(const std::string& path) const {
  for (std::string at = parent_of(path); at.size() > 1; at = parent_of(at)) {
    const Change* change = find(at);
    if (change != nullptr && (change->fresh || change->entry.kind != EntryKind::directory))
      return true;
  }
  return false;
}

Result<Entry> OverlayFiles::look_locked(const std::string& path) const {
  if (const Change* change = find(path)) return change->entry;
  if (hidden(path)) return Entry{};
  return beneath_.look(path);
}

Result<Entry> OverlayFiles::look(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  return look_locked(path);
}

Stamp OverlayFiles::stamp(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  if (const Change* change = find(path)) return change->entry.stamp;
  return hidden(path) ? Stamp{} : beneath_.stamp(path);
}

Result<std::string> OverlayFiles::read(const std::string& path, std::size_t limit) const {
  const std::lock_guard lock(mutex_);
  const Change* change = find(path);
  if (change == nullptr ? !hidden(path) : change->on_disk) return beneath_.read(path, limit);
  if (change == nullptr || change->entry.kind != EntryKind::file)
    return fail(ErrorCode::not_found, fmt::format("there will be no file {}", path));
  if (!change->known)
    return fail(ErrorCode::not_found,
                fmt::format("{} is made by a command that a dry run does not run", path));
  if (!change->content.source.empty()) return read_file(change->content.source, limit);
  return change->content.bytes;
}

Result<Digest> OverlayFiles::digest(const std::string& path) const {
  {
    const std::lock_guard lock(mutex_);
    const Change* change = find(path);
    if (change == nullptr ? !hidden(path) : change->on_disk) return beneath_.digest(path);
    if (change != nullptr && change->known && change->entry.kind == EntryKind::file)
      return change->content.digest();
  }
  return Digest::of(TRY(read(path, kDefaultReadLimit)));
}

Result<std::vector<std::string>> OverlayFiles::list(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  std::set<std::string> names;
  const Change* self = find(path);
  if (!hidden(path) && (self == nullptr || !self->fresh)) {
    for (std::string& name : TRY(beneath_.list(path))) names.insert(std::move(name));
  }
  const std::string prefix = path == "/" ? "/" : path + "/";
  for (auto it = changes_.lower_bound(prefix);
       it != changes_.end() && it->first.starts_with(prefix); ++it) {
    const std::string name = it->first.substr(prefix.size());
    if (name.find('/') != std::string::npos) continue;
    if (it->second.entry.kind == EntryKind::absent) {
      names.erase(name);
    } else {
      names.insert(name);
    }
  }
  return std::vector<std::string>(names.begin(), names.end());
}

Status OverlayFiles::need_parent(const std::string& path) const {
  const Entry parent = TRY(look_locked(parent_of(path)));
  if (parent.kind == EntryKind::directory) return {};
  return fail(ErrorCode::not_found, fmt::format("there is no directory {}", parent_of(path)))
      .hint("declare a directory resource for it");
}

Result<std::string> OverlayFiles::write(const std::string& path, const Content& content,
                                        const Metadata& meta, const Validate& /*validate*/) {
  const std::uint64_t size = TRY(content.size());
  const std::lock_guard lock(mutex_);
  TRYV(need_parent(path));
  const Entry old = TRY(look_locked(path));
  Metadata kept = meta;
  if (old.kind == EntryKind::file) {
    if (!kept.mode) kept.mode = old.mode();
    if (!kept.uid) kept.uid = old.stamp.uid;
    if (!kept.gid) kept.gid = old.stamp.gid;
  }
  changes_[path] = Change{Entry{EntryKind::file, imagined(S_IFREG, kept, 0600, size), {}}, content};
  return std::string();
}

Status OverlayFiles::make_directory(const std::string& path, const Metadata& meta) {
  const std::lock_guard lock(mutex_);
  TRYV(need_parent(path));
  Change change{Entry{EntryKind::directory, imagined(S_IFDIR, meta, 0755, 0), {}}, {}};
  change.fresh = true;
  changes_[path] = std::move(change);
  return {};
}

Status OverlayFiles::make_symlink(const std::string& path, const std::string& target) {
  const std::lock_guard lock(mutex_);
  TRYV(need_parent(path));
  changes_[path] =
      Change{Entry{EntryKind::symlink, imagined(S_IFLNK, {}, 0777, target.size()), target}, {}};
  return {};
}

Status OverlayFiles::set_metadata(const std::string& path, const Metadata& meta) {
  const std::lock_guard lock(mutex_);
  Change change;
  if (const Change* known = find(path)) {
    change = *known;
  } else {
    change.entry = TRY(look_locked(path));
    change.on_disk = true;
  }
  overwrite(change.entry.stamp, meta);
  changes_[path] = std::move(change);
  return {};
}

Status OverlayFiles::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  changes_[path] = Change{};
  return {};
}

Status OverlayFiles::rename(const std::string& from, const std::string& /*to*/) {
  return remove(from);
}

void OverlayFiles::will_be_made(const std::string& path) {
  const std::lock_guard lock(mutex_);
  Change change{Entry{EntryKind::file, imagined(S_IFREG, {}, 0644, 0), {}}, {}};
  change.known = false;
  changes_[path] = std::move(change);
}

}  // namespace consort::agent
