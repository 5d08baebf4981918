// What the log shows of what others have sent.
#include "base/log.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>

namespace consort {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Log, NobodyWritesLinesIntoItOrSteersATerminal) {
  ::testing::internal::CaptureStderr();
  log_error("GET {} from 10.0.0.1", "/x\n2026-11-30T09:00:00.000Z info deployed 99\x1b[2J\x07");
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_THAT(said,
              HasSubstr("GET /x 2026-11-30T09:00:00.000Z info deployed 99?[2J? from 10.0.0.1"));
  EXPECT_THAT(said, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace consort
