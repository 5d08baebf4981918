#include "agent/supervisors/environment_file.h"

#include <gmock/gmock.h>

namespace consort::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Variables = std::map<std::string, std::string>;

TEST(EnvironmentFile, ReadsWhatShellsAndSystemdRead) {
  const Variables wanted = {
      {"A", "1"}, {"B", "two words"},  {"C", "it's \"quoted\" \\"}, {"D", "a\"b\\c$HOME"},
      {"E", ""},  {"F", "over lines"}, {"G", "line\nbreak"}};
  EXPECT_EQ(parse_environment_file("# comment\n\n; another\nA=1\n B = two words \r\n"
                                   "C='it'\\''s \"quoted\" \\'\nD=\"a\\\"b\\\\c$HOME\"\nE=\n"
                                   "F=over \\\nlines\nG='line\nbreak'")
                .value(),
            wanted);
}

TEST(EnvironmentFile, MistakesNameTheLineAndNotWhatItHolds) {
  for (const char* text : {"OK=1\nPOISON", "OK=1\n1A=POISON", "OK=1\nA='POISON", "OK=1\nA=POISON\\",
                           "OK=1\nA B=POISON"}) {
    const auto read = parse_environment_file(text);
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().message(), HasSubstr("line 2"));
    EXPECT_THAT(read.error().message(), Not(HasSubstr("POISON")));
  }
}

TEST(EnvironmentFile, TheLaterLineCounts) {
  EXPECT_EQ(parse_environment_file("A=1\nA=2").value(), (Variables{{"A", "2"}}));
}

}  // namespace
}  // namespace consort::agent
