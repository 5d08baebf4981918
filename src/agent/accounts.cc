#include "agent/accounts.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <mutex>

#include "base/text.h"

namespace consort::agent {
namespace {

constexpr std::size_t kLongestEntry = 1U << 20U;
constexpr std::size_t kMostGroups = 65536;  // NGROUPS_MAX

std::optional<unsigned> number(std::string_view text) {
  unsigned out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return out;
}

// `find` is getpwnam_r or getpwuid_r without its last four parameters.
template <class Find>
std::optional<Account> ask_for_user(const Find& find) {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  int error = 0;
  while ((error = find(&entry, buffer.data(), buffer.size(), &found)) == ERANGE &&
         buffer.size() < kLongestEntry)
    buffer.resize(buffer.size() * 4);
  if (error != 0 || found == nullptr) return std::nullopt;
  return Account{entry.pw_name, entry.pw_uid, entry.pw_gid, "", "", ""};
}

// What the name service adds to the groups of this user.
std::vector<gid_t> ask_for_groups(const std::string& user, gid_t own) {
  std::vector<gid_t> out(64);
  int count = static_cast<int>(out.size());
  while (::getgrouplist(user.c_str(), own, out.data(), &count) < 0 && out.size() < kMostGroups) {
    out.resize(
        std::clamp<std::size_t>(static_cast<std::size_t>(count), 2 * out.size(), kMostGroups));
    count = static_cast<int>(out.size());
  }
  out.resize(std::min(out.size(), static_cast<std::size_t>(std::max(count, 0))));
  return out;
}

}  // namespace

std::shared_lock<std::shared_mutex> Accounts::loaded() const {
  while (true) {
    std::shared_lock lock(mutex_);
    if (loaded_) return lock;
    lock.unlock();
    const std::unique_lock alone(mutex_);
    load();
  }
}

void Accounts::load() const {
  if (loaded_) return;
  loaded_ = true;
  users_.clear();
  groups_.clear();
  for (const std::string& line :
       split(files_.read("/etc/passwd", kDefaultReadLimit).value_or(""), '\n')) {
    const auto field = split(line, ':');
    if (field.size() < 7 || !number(field[2]) || !number(field[3])) continue;
    users_[field[0]] =
        Account{field[0], *number(field[2]), *number(field[3]), field[4], field[5], field[6]};
  }
  for (const std::string& line :
       split(files_.read("/etc/group", kDefaultReadLimit).value_or(""), '\n')) {
    const auto field = split(line, ':');
    if (field.size() < 4 || !number(field[2])) continue;
    AccountGroup group{field[0], *number(field[2]), {}};
    for (const std::string& member : split(field[3], ',')) {
      if (!member.empty()) group.members.push_back(member);
    }
    groups_[field[0]] = std::move(group);
  }
}

void Accounts::refresh() {
  const std::lock_guard lock(mutex_);
  loaded_ = false;
}

std::optional<Account> Accounts::user(std::string_view name) const {
  const auto lock = loaded();
  const auto it = users_.find(name);
  return it == users_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<AccountGroup> Accounts::group(std::string_view name) const {
  const auto lock = loaded();
  const auto it = groups_.find(name);
  return it == groups_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<AccountGroup> Accounts::group_of(gid_t gid) const {
  const auto lock = loaded();
  const auto it = std::find_if(groups_.begin(), groups_.end(),
                               [&](const auto& item) { return item.second.gid == gid; });
  return it == groups_.end() ? std::nullopt : std::optional(it->second);
}

std::vector<std::string> Accounts::memberships(std::string_view user) const {
  const auto lock = loaded();
  std::vector<std::string> out;
  for (const auto& [name, group] : groups_) {
    if (std::find(group.members.begin(), group.members.end(), user) != group.members.end())
      out.push_back(name);
  }
  return out;
}

std::optional<Account> Accounts::find_user(const std::string& name) const {
  const auto id = number(name);
  {
    const auto lock = loaded();
    const auto it = id ? std::find_if(users_.begin(), users_.end(),
                                      [&](const auto& item) { return item.second.uid == *id; })
                       : users_.find(name);
    if (it != users_.end()) return it->second;
  }
  if (!ask_name_service_) return std::nullopt;
  return ask_for_user([&](passwd* entry, char* buffer, std::size_t size, passwd** found) {
    return id ? ::getpwuid_r(*id, entry, buffer, size, found)
              : ::getpwnam_r(name.c_str(), entry, buffer, size, found);
  });
}

Result<uid_t> Accounts::uid_of(const std::string& name) const {
  if (const auto id = number(name)) return *id;
  if (const auto account = find_user(name)) return account->uid;
  return fail(ErrorCode::not_found, fmt::format("there is no user '{}' on this host", name))
      .hint(fmt::format("declare a resource of type user with name: '{}'", name));
}

Result<RunAs> Accounts::run_as(const std::string& user, const std::string& group) const {
  RunAs out;
  out.uid = TRY(uid_of(user));
  const auto account = find_user(user);
  if (!group.empty()) {
    out.gid = TRY(gid_of(group));
  } else if (account) {
    out.gid = account->gid;
  } else {
    return fail(ErrorCode::invalid_input,
                fmt::format("user '{}' has no entry on this host that tells its group", user))
        .hint("say group as well, a name or a number");
  }
  if (!account) return out;
  for (const std::string& name : memberships(account->name))
    out.groups.push_back(TRY(gid_of(name)));
  if (ask_name_service_) {
    const std::vector<gid_t> more = ask_for_groups(account->name, out.gid);
    out.groups.insert(out.groups.end(), more.begin(), more.end());
  }
  std::sort(out.groups.begin(), out.groups.end());
  out.groups.erase(std::unique(out.groups.begin(), out.groups.end()), out.groups.end());
  return out;
}

Result<gid_t> Accounts::gid_of(const std::string& name) const {
  if (const auto id = number(name)) return *id;
  {
    const auto lock = loaded();
    if (const auto it = groups_.find(name); it != groups_.end()) return it->second.gid;
  }
  if (ask_name_service_) {
    ::group entry{};
    ::group* found = nullptr;
    std::array<char, 16384> buffer{};
    if (::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
        found != nullptr)
      return entry.gr_gid;
  }
  return fail(ErrorCode::not_found, fmt::format("there is no group '{}' on this host", name))
      .hint(fmt::format("declare a resource of type group with name: '{}'", name));
}

}  // namespace consort::agent
