// Who may do what: viewers, deployers of their own services, admins, hosts for themselves.
#include "access/decide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/files.h"

namespace consort::access {
namespace {

using testing::HasSubstr;

const Principal kAnn{Principal::Kind::operator_, "ann"};
const Principal kWeb1{Principal::Kind::host, "web1"};
const Principal kNobody{};
const Principal kLocal{Principal::Kind::local, ""};
const Principal kJoining{Principal::Kind::joining, "ab12cd34"};

const std::vector<Grant> kViewer = {{Role::viewer}};
const std::vector<Grant> kAdmin = {{Role::admin}};
std::vector<Grant> deployer_of(std::vector<std::string> services,
                               std::vector<std::string> owners = {}) {
  return {{Role::deployer, std::move(services), std::move(owners)}};
}

Subject services(std::vector<ServiceSubject> list) {
  Subject out;
  out.services = std::move(list);
  return out;
}
// Before the handler knows which services it is about.
Subject at_the_door() {
  Subject out;
  out.services_are_known = Subject::When::later;
  return out;
}
Subject named(const std::string& name) {
  Subject out;
  out.name = name;
  return out;
}

TEST(Decide, AViewerIsToldWhatDeployingWouldNeed) {
  const Decision decision =
      decide(kAnn, kViewer, Action::deploy, services({{"shop", "team-a", "team-a"}}));
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.reason, "deploying 'shop' needs the role deployer for it; you are viewer");
  EXPECT_EQ(decision.hint,
            "an admin can give it: consort operator grant ann --role deployer --service 'shop'");
  EXPECT_EQ(decision.status().error().code(), ErrorCode::forbidden);
  EXPECT_EQ(error_http_status(decision.status().error().code()), 403);
}

TEST(Decide, WhatIsRefusedBeforeItsServicesAreKnownIsAWholeSentence) {
  const Decision decision = decide(kAnn, kViewer, Action::set_secret, at_the_door());
  EXPECT_EQ(decision.reason,
            "setting a secret of a service needs the role deployer; you are viewer");
  EXPECT_EQ(decide(kAnn, kViewer, Action::deploy, at_the_door()).reason,
            "deploying needs the role deployer; you are viewer");
}

TEST(Decide, ADeployerChangesItsOwnServicesAndNothingElse) {
  const auto grants = deployer_of({"shop-*"});
  EXPECT_TRUE(decide(kAnn, grants, Action::deploy, services({{"shop-web"}, {"shop-db"}})).allowed);
  const Decision mixed = decide(kAnn, grants, Action::deploy, services({{"shop-web"}, {"bank"}}));
  EXPECT_FALSE(mixed.allowed);
  EXPECT_EQ(mixed.reason,
            "deploying 'shop-web', 'bank' needs the role deployer of 'bank'; you are deployer of "
            "shop-*");
  EXPECT_FALSE(decide(kAnn, grants, Action::steer_rollout, services({{"bank"}})).allowed);
  EXPECT_TRUE(decide(kAnn, grants, Action::roll_back, services({{"shop-web"}})).allowed);
  EXPECT_TRUE(decide(kAnn, grants, Action::view_status, {}).allowed);
  EXPECT_TRUE(decide(kAnn, grants, Action::send_objects, {}).allowed);
  EXPECT_TRUE(decide(kAnn, kViewer, Action::ask_for_missing, {}).allowed) << "viewers plan";
  EXPECT_FALSE(decide(kAnn, kViewer, Action::send_objects, {}).allowed);
  EXPECT_FALSE(decide(kAnn, grants, Action::remove_host, named("web1")).allowed);
}

TEST(Decide, ANameThatGoesOnBehindItsEndIsNobodys) {
  const std::string name("shop\0evil", 9);
  EXPECT_FALSE(decide(kAnn, deployer_of({"shop"}), Action::deploy, services({{name}})).allowed);
}

TEST(Decide, SeveralGrantsTogetherCoverAPlan) {
  std::vector<Grant> grants = deployer_of({"shop"});
  grants.push_back({Role::deployer, {"db"}, {}});
  EXPECT_TRUE(decide(kAnn, grants, Action::deploy, services({{"shop"}, {"db"}})).allowed);
}

TEST(Decide, NobodyTakesAServiceOverByWritingAnotherOwnerIntoTheSite) {
  const auto grants = deployer_of({}, {"team-a"});
  EXPECT_TRUE(
      decide(kAnn, grants, Action::deploy, services({{"shop", "team-a", "team-a"}})).allowed);
  EXPECT_TRUE(
      decide(kAnn, grants, Action::deploy, services({{"new", std::nullopt, "team-a"}})).allowed);
  EXPECT_TRUE(
      decide(kAnn, grants, Action::deploy, services({{"old", "team-a", std::nullopt}})).allowed);
  EXPECT_FALSE(
      decide(kAnn, grants, Action::deploy, services({{"bank", "team-b", "team-a"}})).allowed);
  EXPECT_FALSE(
      decide(kAnn, grants, Action::deploy, services({{"shop", "team-a", "team-b"}})).allowed);
  EXPECT_FALSE(decide(kAnn, grants, Action::deploy, services({{"nobodys", "", ""}})).allowed);
  EXPECT_FALSE(decide(kAnn, grants, Action::deploy, services({{"unknown"}})).allowed);
}

TEST(Decide, TheBaseServiceOfAHostClassIsForGrantsThatMeanIt) {
  const auto base = services({{"class:web", "team-x", "team-x"}});
  EXPECT_FALSE(decide(kAnn, deployer_of({}, {"team-x"}), Action::deploy, base).allowed)
      << "all services of the class stand on it, whoever owns them";
  const auto fresh = services({{"class:web", std::nullopt, "team-x"}});
  EXPECT_FALSE(decide(kAnn, deployer_of({}, {"team-x"}), Action::deploy, fresh).allowed);
  for (const char* pattern : {"*web", "c*", "class*", "*:web"})
    EXPECT_FALSE(decide(kAnn, deployer_of({pattern}), Action::deploy, base).allowed) << pattern;
  for (const char* pattern : {"class:web", "class:*", "*"})
    EXPECT_TRUE(decide(kAnn, deployer_of({pattern}), Action::deploy, base).allowed) << pattern;
}

TEST(Decide, WhatIsNotKnownToChangeMayBeAnything) {
  EXPECT_FALSE(decide(kAnn, deployer_of({"shop"}), Action::deploy, {}).allowed);
  EXPECT_TRUE(decide(kAnn, deployer_of({"*"}), Action::deploy, {}).allowed);
  EXPECT_FALSE(decide(kAnn, deployer_of({"shop"}), Action::steer_rollout, services({})).allowed)
      << "what names no service is not one's own for that";
  EXPECT_TRUE(decide(kAnn, deployer_of({"*"}), Action::steer_rollout, services({})).allowed);
  EXPECT_TRUE(decide(kAnn, deployer_of({"shop"}), Action::deploy, at_the_door()).allowed);
  EXPECT_FALSE(decide(kAnn, kViewer, Action::deploy, at_the_door()).allowed);
}

TEST(Decide, TheSharedPolicyIsForDeployersOfEverything) {
  EXPECT_FALSE(decide(kAnn, deployer_of({"shop"}), Action::change_policy, {}).allowed);
  EXPECT_TRUE(decide(kAnn, deployer_of({"*"}), Action::change_policy, {}).allowed);
  EXPECT_TRUE(decide(kAnn, kAdmin, Action::change_policy, {}).allowed);
}

TEST(Decide, HostsActForThemselvesOnly) {
  for (const Action action : {Action::read_target, Action::send_report, Action::read_own_secrets,
                              Action::renew_certificate}) {
    EXPECT_TRUE(decide(kWeb1, {}, action, named("web1")).allowed);
    const Decision other = decide(kWeb1, {}, action, named("web2"));
    EXPECT_FALSE(other.allowed);
    EXPECT_THAT(other.reason, HasSubstr("you are host 'web1'"));
  }
  EXPECT_FALSE(decide(kWeb1, {}, Action::view_status, {}).allowed);
  EXPECT_FALSE(decide(kWeb1, kAdmin, Action::deploy, services({})).allowed)
      << "grants are for operators";
}

TEST(Decide, AHostReadsObjectsOfWhatItRuns) {
  Subject object;
  EXPECT_TRUE(decide(kWeb1, {}, Action::read_object, object).allowed) << "not known whose it is";
  object.in_closure = false;
  EXPECT_FALSE(decide(kWeb1, {}, Action::read_object, object).allowed);
  object.in_closure = true;
  EXPECT_TRUE(decide(kWeb1, {}, Action::read_object, object).allowed);
}

TEST(Decide, NoOperatorSpeaksForAHost) {
  const Decision decision = decide(kAnn, kAdmin, Action::send_report, named("web1"));
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.reason,
            "sending reports of host 'web1' is not for operators, admins included");
}

TEST(Decide, WhoShowsNothingIsAskedForACredential) {
  EXPECT_TRUE(decide(kNobody, {}, Action::see_health, {}).allowed);
  const Decision decision = decide(kNobody, kAdmin, Action::view_status, {});
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.reason,
            "viewing the status of the site needs a certificate or a token, and none was shown");
  EXPECT_EQ(error_http_status(decision.status().error().code()), 401);
}

TEST(Decide, AJoinTokenLetsJoinAndNothingElse) {
  for (const ActionRow& row : action_table()) {
    const bool allowed = decide(kJoining, kAdmin, row.action, named("ab12cd34")).allowed;
    EXPECT_EQ(allowed, row.action == Action::join_fleet || row.least == ActionRow::Least::anyone)
        << row.name;
  }
}

TEST(Decide, AnOperatorWithoutGrantsKnowsOnlyItself) {
  EXPECT_TRUE(decide(kAnn, {}, Action::who_am_i, {}).allowed);
  EXPECT_TRUE(decide(kAnn, {}, Action::renew_certificate, named("ann")).allowed);
  EXPECT_FALSE(decide(kAnn, kAdmin, Action::renew_certificate, named("bob")).allowed);
  EXPECT_EQ(decide(kAnn, {}, Action::view_status, {}).reason,
            "viewing the status of the site needs the role viewer; you are nothing");
}

TEST(Decide, ACredentialIsForItsPartition) {
  Subject here = named("web1");
  here.partition = "east";
  Principal host = kWeb1;
  host.partition = "west";
  EXPECT_FALSE(decide(host, {}, Action::read_target, here).allowed);
  host.partition = "east";
  EXPECT_TRUE(decide(host, {}, Action::read_target, here).allowed);
}

TEST(Decide, InsecureLoopbackMayDoEverythingAndSaysSo) {
  for (const ActionRow& row : action_table()) {
    const Decision decision = decide(kLocal, {}, row.action, {});
    EXPECT_TRUE(decision.allowed) << row.name;
    EXPECT_EQ(decision.reason.find("--insecure") == std::string::npos,
              row.least == ActionRow::Least::anyone);
  }
}

TEST(Decide, WhatIsNotInTheTableIsRefused) {
  const auto unknown = static_cast<Action>(action_table().size());
  for (const Principal& who : {kAnn, kWeb1, kNobody, kLocal, kJoining})
    EXPECT_FALSE(decide(who, kAdmin, unknown, {}).allowed);
}

TEST(ActionTable, RowsStandAtTheirActions) {
  std::size_t index = 0;
  for (const ActionRow& row : action_table()) {
    EXPECT_EQ(static_cast<std::size_t>(row.action), index++);
    EXPECT_EQ(action_name(row.action), row.name);
  }
}

TEST(ActionTable, EveryRouteHasOneAction) {
  std::set<std::string> seen;
  for (const ActionRow& row : action_table()) {
    std::string routes(row.routes);
    for (std::size_t at = 0; at < routes.size();) {
      const std::size_t end = std::min(routes.find(", ", at), routes.size());
      const std::string route = routes.substr(at, end - at);
      EXPECT_TRUE(seen.insert(route).second) << route << " stands twice";
      const std::size_t blank = route.find(' ');
      EXPECT_EQ(action_of_route(route.substr(0, blank), route.substr(blank + 1)), row.action);
      at = end + 2;
    }
  }
  EXPECT_EQ(action_of_route("GET", "/v1/nothing"), std::nullopt);
  EXPECT_EQ(action_of_route("PATCH", "/v1/status"), std::nullopt);
  EXPECT_EQ(action_of_route("GET", "status"), std::nullopt);
}

// A route that somebody adds without saying who may use it is refused in production; better, it
// does not get there.
TEST(ActionTable, NamesEveryRouteThatTheControllerServes) {
  std::size_t routes = 0;
  for (const auto& file : fs::directory_iterator(CONSORT_SOURCE_DIR "/src/controller")) {
    if (file.path().extension() != ".cc") continue;
    const std::string text = read_file(file.path()).value();
    for (std::size_t at = text.find("route("); at != std::string::npos;
         at = text.find("route(", at + 1)) {
      std::vector<std::string> words;  // the two literals behind it
      std::size_t from = at;
      for (int i = 0; i < 2; ++i) {
        const std::size_t begin = text.find('"', from);
        if (begin == std::string::npos || begin - at > 200) break;
        const std::size_t end = text.find('"', begin + 1);
        words.push_back(text.substr(begin + 1, end - begin - 1));
        from = end + 1;
      }
      if (words.size() != 2 || !words[1].starts_with('/')) continue;
      ++routes;
      EXPECT_TRUE(action_of_route(words[0], words[1]))
          << words[0] << " " << words[1] << " in " << file.path() << ": who may use it?";
    }
  }
  EXPECT_GE(routes, 20U);
}

TEST(ActionTable, ItsReferenceIsCurrent) {
  const fs::path page = CONSORT_SOURCE_DIR "/docs/reference/access.md";
  if (std::getenv("CONSORT_ACCEPT") != nullptr) {
    ASSERT_TRUE(write_file_atomic(page, access_reference(), 0644, Durability::cached));
  }
  const auto text = read_file(page);
  ASSERT_TRUE(text) << render_error(text.error());
  EXPECT_EQ(*text, access_reference()) << "stale: ./dev docs, or CONSORT_ACCEPT=1";
}

TEST(Grants, AreCheckedAndToldInWords) {
  EXPECT_EQ(grants_text({{Role::viewer}, {Role::deployer, {"shop-*"}, {"team-a"}}}),
            "viewer and deployer of shop-*, owner team-a");
  EXPECT_FALSE(check_grants({{Role::deployer}}).has_value());
  EXPECT_FALSE(check_grants({{Role::admin, {"shop"}}}).has_value());
  EXPECT_FALSE(check_grants({{Role::deployer, {""}}}).has_value());
  EXPECT_FALSE(check_grants({{Role::deployer, {"a\nb"}}}).has_value());
  EXPECT_FALSE(check_grants({{Role::deployer, {"*a*a*a*a*a*a*a*a*"}}}).has_value());
  EXPECT_FALSE(check_grants({{Role::deployer, {std::string(kMaxPatternBytes + 1, 'a')}}}));
  EXPECT_TRUE(check_grants({{Role::deployer, {"*"}}}).has_value());
}

}  // namespace
}  // namespace consort::access
