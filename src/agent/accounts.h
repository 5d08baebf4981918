// Users and groups as ROOT/etc/passwd and ROOT/etc/group tell them (and, with the root "/", the
// name service as well). Lines are read leniently: what is malformed is skipped. Thread-safe.
#pragma once

#include <map>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "agent/host_files.h"

namespace consort::agent {

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string comment;
  std::string home;
  std::string shell;
};

struct AccountGroup {
  std::string name;
  gid_t gid = 0;
  std::vector<std::string> members;
};

// As whom a program runs.
struct RunAs {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
};

class Accounts {
 public:
  // `files` must outlive this.
  Accounts(const HostFiles& files, bool ask_name_service)
      : files_(files), ask_name_service_(ask_name_service) {}

  // Only what the files say.
  [[nodiscard]] std::optional<Account> user(std::string_view name) const;
  [[nodiscard]] std::optional<AccountGroup> group(std::string_view name) const;
  [[nodiscard]] std::optional<AccountGroup> group_of(gid_t gid) const;
  // The groups that list this user as a member, sorted.
  [[nodiscard]] std::vector<std::string> memberships(std::string_view user) const;

  // A name or a number. Error not_found, with what to declare.
  [[nodiscard]] Result<uid_t> uid_of(const std::string& name) const;
  [[nodiscard]] Result<gid_t> gid_of(const std::string& name) const;

  // A user (a name or a number) with `group`, or with its own when that is empty, and with the
  // other groups that it is a member of. Errors: not_found; invalid_input when nobody knows the
  // user's own group: without one a program would keep those of the agent.
  [[nodiscard]] Result<RunAs> run_as(const std::string& user, const std::string& group) const;

  // Forget what was read: at the begin of a pass and after each change of an account.
  void refresh();

 private:
  // Holds what was read until it goes; many threads ask at once while a pass looks at files.
  [[nodiscard]] std::shared_lock<std::shared_mutex> loaded() const;
  void load() const;  // under the exclusive lock
  // By name, or by number; the name service is asked after the files.
  [[nodiscard]] std::optional<Account> find_user(const std::string& name) const;

  const HostFiles& files_;
  bool ask_name_service_;
  mutable std::shared_mutex mutex_;
  mutable bool loaded_ = false;
  mutable std::map<std::string, Account, std::less<>> users_;
  mutable std::map<std::string, AccountGroup, std::less<>> groups_;
};

}  // namespace consort::agent
