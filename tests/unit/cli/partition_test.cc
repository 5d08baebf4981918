// What an operator signs is for the controller that it is sent to.
#include "cli/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace consort::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Partition, OfAListMustBeTheControllers) {
  const signing::TrustList list{"shop", "main", {}, 1};
  EXPECT_TRUE(check_partition(list, "main"));
  EXPECT_TRUE(check_partition(list, "")) << "a controller with --insecure is of none";
  const Status refused = check_partition(list, "lab");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(refused.error().message(),
              AllOf(HasSubstr("the partition main"), HasSubstr("is of lab")));
  EXPECT_THAT(refused.error().hint_text(),
              AllOf(HasSubstr("--context"),
                    HasSubstr("consort key trust --site-name shop --partition lab")));
}

TEST(Partition, NobodyIsAskedWhomNobodyVouchesFor) {
  Context only_a_url;
  only_a_url.controller = "https://127.0.0.1:1";
  const auto partition = partition_of(only_a_url);
  ASSERT_TRUE(partition) << render_error(partition.error());
  EXPECT_EQ(*partition, std::nullopt);
}

}  // namespace
}  // namespace consort::cli
