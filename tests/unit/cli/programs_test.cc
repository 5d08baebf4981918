// Programs of a site run beside the operator's keys: not before somebody has said so.
#include "cli/programs.h"

#include <gmock/gmock.h>

namespace consort::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ProgramsTest : public ::testing::Test {
 protected:
  ProgramsTest() {
    site_.file = "/srv/shop/site.json";
    given_class("web", 2);
    site_.services["shop"].name = "shop";
    site_.services["shop"].on = "web";
  }
  void given_class(const std::string& name, std::int64_t min) {
    site_.host_classes[name].name = name;
    site_.host_classes[name].min = min;
    site_.host_classes[name].inventory = Json::object(
        {{"type", "exec"}, {"argv", Json::array_of(std::vector<std::string>{"./hosts", "a b"})}});
  }
  fleet::ProgramGate gate(const std::vector<std::string>& options, Programs programs) {
    Arguments arguments;
    for (const std::string& option : options) arguments.options[option] = {""};
    return settle_programs(site_, arguments, programs, [this](const std::string& question) {
      questions_.push_back(question);
      return answer_;
    });
  }

  site::Site site_;
  std::vector<std::string> questions_;
  Result<bool> answer_ = true;
  std::vector<std::string> argv_ = {"/srv/shop/hosts", "a b"};
};

TEST_F(ProgramsTest, WhoWorksOnAnOwnSiteIsNotAsked) {
  EXPECT_FALSE(gate({}, Programs::run));
  EXPECT_FALSE(gate({}, Programs::stood_in));
}

TEST_F(ProgramsTest, NoExecIsAnErrorThatNamesWhatWasNotRun) {
  for (const Programs programs : {Programs::run, Programs::asked}) {
    const Status refused = gate({"--no-exec"}, programs)(argv_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::refused);
    EXPECT_THAT(refused.error().message(),
                AllOf(HasSubstr("--no-exec"), HasSubstr("/srv/shop/hosts 'a b'")));
  }
  EXPECT_THAT(questions_, SizeIs(0));
}

TEST_F(ProgramsTest, WhoSignsIsAskedOnceForEachProgram) {
  const auto asks = gate({}, Programs::asked);
  EXPECT_TRUE(asks(argv_));
  EXPECT_TRUE(asks(argv_));
  EXPECT_THAT(questions_, ElementsAre(HasSubstr("/srv/shop/hosts 'a b'")));
  answer_ = false;
  EXPECT_FALSE(asks({"/srv/shop/other"}));
  EXPECT_FALSE(asks({"/srv/shop/other"}));
  EXPECT_THAT(questions_, SizeIs(2));
}

TEST_F(ProgramsTest, WhereNobodyCanBeAskedItWantsTheOption) {
  answer_ = fail(ErrorCode::refused, "nobody can be asked here");
  const Status refused = gate({}, Programs::asked)(argv_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("/srv/shop/hosts 'a b'"));
  EXPECT_THAT(refused.error().hint_text(), HasSubstr("--exec"));
  questions_.clear();
  EXPECT_TRUE(gate({"--exec"}, Programs::asked)(argv_));
  EXPECT_THAT(questions_, SizeIs(0));
}

TEST_F(ProgramsTest, ACheckGoesOnWithSampleHosts) {
  site_.services["shop"].replicas = 3;
  site_.services["some"].on = "web";
  site_.services["some"].when = "rack=a";
  site_.services["some"].replicas = 5;
  fleet::ResolveOptions options;
  options.before_program = gate({"--no-exec"}, Programs::stood_in);
  const auto fleet = fleet::resolve(site_, options);
  ASSERT_TRUE(fleet) << render_error(fleet.error());
  EXPECT_THAT(fleet->classes.at("web"), SizeIs(5)) << "as many as somebody wants";
  const auto placement = fleet::place(site_, *fleet, {});
  ASSERT_TRUE(placement) << render_error(placement.error());
  EXPECT_THAT(placement->at("shop"), SizeIs(3));
  EXPECT_THAT(placement->at("some"), SizeIs(0)) << "which hosts match is not known";
}

TEST_F(ProgramsTest, SampleHostsAreNotMoreThanSomebodyCouldHaveAndOfOneClassEach) {
  const std::string common(50, 'c');
  for (const char* end : {"1", "2"}) given_class(common + end, std::int64_t{1} << 40U);
  site_.services["shop"].replicas = std::int64_t{1} << 40U;
  fleet::ResolveOptions options;
  options.before_program = gate({"--no-exec"}, Programs::stood_in);
  const auto fleet = fleet::resolve(site_, options);
  ASSERT_TRUE(fleet) << render_error(fleet.error());
  EXPECT_THAT(fleet->classes.at(common + "1"), SizeIs(10'000));
  EXPECT_THAT(fleet->hosts, SizeIs(30'000));
}

TEST_F(ProgramsTest, AQuestionShowsWhatIsAskedAboutOnOneLine) {
  answer_ = false;
  const auto asks = gate({}, Programs::asked);
  EXPECT_FALSE(asks({"sh", "-c", "evil #\nrun it? [y/N] " + std::string(5000, ' ') + "tail"}));
  ASSERT_THAT(questions_, SizeIs(1));
  EXPECT_EQ(std::count(questions_[0].begin(), questions_[0].end(), '\n'), 1);
  EXPECT_LT(questions_[0].size(), 1300U);
  EXPECT_THAT(questions_[0], HasSubstr("more bytes, which the site file has"));
}

}  // namespace
}  // namespace consort::cli
