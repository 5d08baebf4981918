#include "agent/ledger.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace consort::agent {
namespace {

std::string_view removal_name(OnRemoval value) {
  return value == OnRemoval::revert ? "revert" : "keep";
}
OnRemoval removal_of(const Json& line) {
  return line.string_or("onRemoval") == "revert" ? OnRemoval::revert : OnRemoval::keep;
}

std::uint64_t place_of(std::string_view type, std::string_view claim) {
  return stable_hash(fmt::format("{}\n{}", type, claim));
}

// Calls `take` with each whole line, where it begins and how long it is. Returns where the last one
// ends: what a crash has torn is not among them.
template <class Take>
std::size_t for_each_line(std::string_view text, const Take& take) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) break;
    if (const auto line = parse_json(text.substr(begin, end - begin));
        line && !line->string_or("name").empty())
      take(*line, begin, end - begin);
    begin = end + 1;
  }
  return begin;
}

}  // namespace

Result<std::unique_ptr<Ledger>> Ledger::open(const fs::path& path) {
  TRYV(make_folders(path.parent_path(), 0700));
  std::unique_ptr<Ledger> out(new Ledger(path));
  TRYV(out->load());
  return out;
}

Status Ledger::load() {
  // Read before anything of what is known is given up: without the file it stays as it was.
  auto read = read_file(path_, kMostBytes);
  if (!read && read.error().code() != ErrorCode::not_found) return fail(std::move(read).error());
  const std::string text = read ? std::move(*read) : "";
  Fd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!fd.valid())
    return fail_errno(errno, fmt::format("cannot open the ledger {}", path_.string()));
  fd_ = std::move(fd);
  known_.clear();
  fresh_.clear();
  lines_ = 0;
  const std::size_t end =
      for_each_line(text, [&](const Json& line, std::size_t at, std::size_t length) {
        ++lines_;
        const std::string name = line.string_or("name");
        if (line.bool_or("forgotten")) {
          if (Known* known = find(name)) known->forgotten = has_forgotten_ = true;
          return;
        }
        Known& known = add(name);
        known.on_removal = removal_of(line);
        if (const auto wish = Digest::parse(line.string_or("wish"))) known.wish = *wish;
        const Json* before = line.find("before");
        if (before == nullptr) return;
        known.place = place_of(line.string_or("type"), line.string_or("claim"));
        known.before_is_null = before->is_null();
        known.before_at = static_cast<std::int64_t>(at);
        known.before_length = static_cast<std::uint32_t>(length);
      });
  if (end < text.size() && ::ftruncate(fd_.get(), static_cast<off_t>(end)) != 0) {
    return fail_errno(errno, fmt::format("cannot mend the ledger {}", path_.string()));
  }
  end_ = static_cast<std::int64_t>(end);
  tidy();
  return compact_if_outdated();
}

Result<std::set<Digest>> Ledger::backups_of(const fs::path& path) {
  const auto text = read_file(path, kMostBytes);
  if (!text && text.error().code() == ErrorCode::not_found) return std::set<Digest>{};
  if (!text) return tl::unexpected<Error>(text.error());
  std::map<std::string, Digest> by_name;
  for_each_line(*text, [&](const Json& line, std::size_t, std::size_t) {
    const Json* before = line.find("before");
    if (line.bool_or("forgotten") || before != nullptr) by_name.erase(line.string_or("name"));
    if (before == nullptr || !before->is_object()) return;
    if (const auto backup = Digest::parse(before->string_or("backup")))
      by_name.emplace(line.string_or("name"), *backup);
  });
  std::set<Digest> out;
  for (const auto& [name, backup] : by_name) out.insert(backup);
  return out;
}

// All that is known is among known_, and on the disk.
Status Ledger::compact_if_outdated() {
  if (lines_ < 1000 || lines_ < 4 * known_.size()) return {};
  std::string text;
  for (const Known& known : known_) {
    const Entry entry = TRY(read(known));
    Json line = Json::object({{"name", known.name},
                              {"type", entry.type},
                              {"claim", entry.claim},
                              {"onRemoval", removal_name(known.on_removal)},
                              {"before", entry.before}});
    if (!known.wish.is_none()) line["wish"] = known.wish.str();
    text += line.dump() + "\n";
  }
  TRYV(write_file_atomic(path_, text, 0600));
  return load();
}

const Ledger::Known* Ledger::find(std::string_view name) const {
  const auto it = std::ranges::lower_bound(known_, name, {}, &Known::name);
  const Known* found = it != known_.end() && it->name == name ? &*it : nullptr;
  if (const auto fresh = fresh_.find(name); found == nullptr && fresh != fresh_.end())
    found = &fresh->second;
  return found == nullptr || found->forgotten ? nullptr : found;
}

Ledger::Known* Ledger::find(std::string_view name) {
  return const_cast<Known*>(std::as_const(*this).find(name));
}

Ledger::Known& Ledger::add(const std::string& name) {
  if (fresh_.size() >= kMostFresh) tidy();
  const auto it = std::ranges::lower_bound(known_, name, {}, &Known::name);
  Known& known = it != known_.end() && it->name == name ? *it : fresh_[name];
  if (known.forgotten) known = {};
  known.name = name;
  return known;
}

void Ledger::tidy() {
  if (fresh_.empty() && !has_forgotten_) return;
  std::vector<Known> all;
  all.reserve(known_.size() + fresh_.size());
  std::vector<Known> fresh;
  fresh.reserve(fresh_.size());
  for (auto& [name, known] : fresh_) fresh.push_back(std::move(known));
  fresh_.clear();
  std::ranges::merge(std::make_move_iterator(known_.begin()), std::make_move_iterator(known_.end()),
                     std::make_move_iterator(fresh.begin()), std::make_move_iterator(fresh.end()),
                     std::back_inserter(all),
                     [](const Known& a, const Known& b) { return a.name < b.name; });
  std::erase_if(all, [](const Known& known) { return known.forgotten; });
  all.shrink_to_fit();
  known_ = std::move(all);
  has_forgotten_ = false;
}

bool Ledger::has(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return find(name) != nullptr;
}

bool Ledger::is_elsewhere(const Resource& resource, const std::string& claim) const {
  const std::lock_guard lock(mutex_);
  const Known* known = find(resource.name());
  return known != nullptr && known->before_at >= 0 &&
         known->place != place_of(resource.type(), claim);
}

bool Ledger::applied(const Resource& resource) const {
  const std::lock_guard lock(mutex_);
  const Known* known = find(resource.name());
  return known != nullptr && known->wish == resource.wish();
}

bool Ledger::lacks_before(const Resource& resource) const {
  const std::lock_guard lock(mutex_);
  const Known* known = find(resource.name());
  return known == nullptr || (known->before_is_null && known->wish != resource.wish());
}

// All of it or nothing: what a full disk took of a line would put every later line at another place
// than is remembered.
Status Ledger::append(const std::string& text, std::size_t lines) {
  if (Status status = write_all(fd_.get(), text, path_.string()); !status) {
    if (::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0)
      status.error().add_context("cutting off what was written of a line");
    return status;
  }
  end_ += static_cast<std::int64_t>(text.size());
  lines_ += lines;
  return {};
}

Status Ledger::intend(const Resource& resource, const std::string& claim, Json before) {
  const Json line = Json::object({{"name", resource.name()},
                                  {"type", resource.type()},
                                  {"claim", claim},
                                  {"onRemoval", removal_name(resource.common().on_removal)},
                                  {"before", std::move(before)}});
  const std::string text = line.dump() + "\n";
  const std::lock_guard lock(mutex_);
  const std::int64_t at = end_;
  TRYV(append(text, 1));
  Known& known = add(resource.name());
  known.place = place_of(resource.type(), claim);
  known.before_at = at;
  known.before_length = static_cast<std::uint32_t>(text.size() - 1);
  known.before_is_null = false;
  known.on_removal = resource.common().on_removal;
  if (known.on_removal == OnRemoval::revert && ::fdatasync(fd_.get()) != 0)
    return fail_errno(errno, "cannot sync the ledger");
  return {};
}

Status Ledger::done(const Resource& resource, const std::string& claim) {
  const std::lock_guard lock(mutex_);
  const Known* found = find(resource.name());
  Known known = found == nullptr ? Known{} : *found;
  const OnRemoval on_removal = resource.common().on_removal;
  if (known.wish == resource.wish() && known.on_removal == on_removal && found != nullptr)
    return {};
  known.name = resource.name();
  known.wish = resource.wish();
  known.on_removal = on_removal;
  Json line = Json::object({{"name", resource.name()},
                            {"wish", known.wish.str()},
                            {"onRemoval", removal_name(known.on_removal)}});
  if (known.before_at >= 0) {
    pending_ += line.dump() + "\n";
    ++pending_lines_;
  } else {
    line["type"] = resource.type();
    line["claim"] = claim;
    line["before"] = Json();
    const std::string text = line.dump();
    known.place = place_of(resource.type(), claim);
    known.before_at = end_ + static_cast<std::int64_t>(pending_.size());
    known.before_length = static_cast<std::uint32_t>(text.size());
    // Written now: its place in the file is remembered.
    TRYV(append_with_pending(text));
  }
  add(resource.name()) = std::move(known);
  return {};
}

Status Ledger::flush() {
  const std::lock_guard lock(mutex_);
  if (!pending_.empty()) {
    TRYV(append(pending_, pending_lines_));
    pending_.clear();
    pending_.shrink_to_fit();  // after a first pass it is large
    pending_lines_ = 0;
    if (::fdatasync(fd_.get()) != 0) return fail_errno(errno, "cannot sync the ledger");
  }
  tidy();
  // All is recorded: what fails now is tried again.
  if (const Status compacted = compact_if_outdated(); !compacted)
    log_warn("{} stays longer than it need be: {}", path_.string(), compacted.error().message());
  return {};
}

Status Ledger::append_with_pending(const std::string& line) {
  TRYV(append(pending_ + line + "\n", pending_lines_ + 1));
  pending_.clear();
  pending_lines_ = 0;
  return {};
}

Result<Ledger::Entry> Ledger::get(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const Known* known = find(name);
  if (known == nullptr)
    return fail(ErrorCode::not_found, fmt::format("Consort owns no resource '{}' here", name));
  return read(*known);
}

Result<Ledger::Entry> Ledger::read(const Known& known) const {
  Entry out;
  out.name = known.name;
  out.wish = known.wish;
  out.on_removal = known.on_removal;
  if (known.before_at < 0) return out;
  std::string text(known.before_length, '\0');
  const ssize_t n = ::pread(fd_.get(), text.data(), text.size(), known.before_at);
  if (n != static_cast<ssize_t>(text.size()))
    return fail_errno(n < 0 ? errno : EIO, "cannot read the ledger");
  const Json line = TRY(parse_json(text, path_.string()));
  out.type = line.string_or("type");
  out.claim = line.string_or("claim");
  if (const Json* before = line.find("before")) out.before = *before;
  return out;
}

std::vector<std::string> Ledger::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const Known& known : known_) {
    if (!known.forgotten) out.push_back(known.name);
  }
  for (const auto& [name, known] : fresh_) {
    if (!known.forgotten) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Status Ledger::put(const Entry& entry) {
  Json line = Json::object({{"name", entry.name},
                            {"type", entry.type},
                            {"claim", entry.claim},
                            {"onRemoval", removal_name(entry.on_removal)},
                            {"before", entry.before}});
  if (!entry.wish.is_none()) line["wish"] = entry.wish.str();
  const std::string text = line.dump();
  const std::lock_guard lock(mutex_);
  Known known;
  known.name = entry.name;
  known.wish = entry.wish;
  known.place = place_of(entry.type, entry.claim);
  known.before_at = end_ + static_cast<std::int64_t>(pending_.size());
  known.before_length = static_cast<std::uint32_t>(text.size());
  known.on_removal = entry.on_removal;
  known.before_is_null = entry.before.is_null();
  TRYV(append_with_pending(text));
  add(entry.name) = std::move(known);
  if (::fdatasync(fd_.get()) != 0) return fail_errno(errno, "cannot sync the ledger");
  return {};
}

Status Ledger::forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  Known* known = find(name);
  if (known == nullptr) return {};
  TRYV(append_with_pending(Json::object({{"name", name}, {"forgotten", true}}).dump()));
  known->forgotten = has_forgotten_ = true;
  return {};
}

}  // namespace consort::agent
