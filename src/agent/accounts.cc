#include "agent/accounts.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>

#include "base/text.h"

namespace consort::agent {
namespace {

std::optional<unsigned> number(std::string_view text) {
  unsigned out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
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

Result<uid_t> Accounts::uid_of(const std::string& name) const {
  if (const auto id = number(name)) return *id;
  {
    const auto lock = loaded();
    if (const auto it = users_.find(name); it != users_.end()) return it->second.uid;
  }
  if (ask_name_service_) {
    passwd entry{};
    passwd* found = nullptr;
    std::array<char, 16384> buffer{};
    if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
        found != nullptr)
      return entry.pw_uid;
  }
  return fail(ErrorCode::not_found, fmt::format("there is no user '{}' on this host", name))
      .hint(fmt::format("declare a resource of type user with name: '{}'", name));
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
