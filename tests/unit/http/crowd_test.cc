// Who makes room for whom, and how much may wait to be read.
#include "http/crowd.h"

#include <gtest/gtest.h>

#include "http/unsent.h"

namespace consort::http {
namespace {

TEST(Crowd, TheOldestOfTheLargestGroupGoesFirst) {
  Crowd crowd;
  EXPECT_EQ(crowd.oldest_of_largest(), std::nullopt);
  crowd.enter("10.0.0.1", 1);
  crowd.enter("10.0.0.2", 2);
  crowd.enter("10.0.0.2", 3);
  crowd.enter("10.0.0.2", 4);
  EXPECT_EQ(crowd.size_of("10.0.0.2"), 3U);
  EXPECT_EQ(crowd.oldest_of("10.0.0.1"), 1U);
  EXPECT_EQ(crowd.oldest_of_largest(), 2U) << "not the oldest of all";
  crowd.leave("10.0.0.2", 2);
  EXPECT_EQ(crowd.oldest_of_largest(), 3U);
  crowd.enter("10.0.0.1", 5);
  crowd.enter("10.0.0.1", 6);
  EXPECT_EQ(crowd.oldest_of_largest(), 1U);
  for (const Crowd::Number number : {1U, 5U, 6U}) crowd.leave("10.0.0.1", number);
  EXPECT_EQ(crowd.size_of("10.0.0.1"), 0U);
  EXPECT_EQ(crowd.oldest_of("10.0.0.1"), std::nullopt);
  crowd.leave("10.0.0.9", 9);
  EXPECT_EQ(crowd.oldest_of_largest(), 3U);
}

// Many with one connection each, against a newcomer whose name is late in the alphabet.
TEST(Crowd, AmongEqualsTheOldestGoesWhateverItIsCalled) {
  Crowd crowd;
  for (Crowd::Number number = 1; number <= 5; ++number)
    crowd.enter("2001:db8::" + std::to_string(number), number);
  crowd.enter("fd00::7", 6);
  EXPECT_EQ(crowd.oldest_of_largest(), 1U);
  crowd.leave("2001:db8::1", 1);
  EXPECT_EQ(crowd.oldest_of_largest(), 2U);
}

TEST(Unsent, EachPeerHasItsShareAndASingleAnswerMayBeLarger) {
  Unsent unsent(100, 1000);
  EXPECT_TRUE(unsent.fits_peer("ann", 500));
  unsent.hold("ann", 1, 60);
  EXPECT_TRUE(unsent.fits_peer("ann", 40));
  EXPECT_FALSE(unsent.fits_peer("ann", 41));
  EXPECT_TRUE(unsent.fits_peer("bob", 41));
  unsent.hold("ann", 1, 20);
  unsent.hold("ann", 2, 30);
  EXPECT_EQ(unsent.of("ann"), 50U);
  EXPECT_EQ(unsent.of("ann", 2), 30U);
  unsent.hold("ann", 1, 0);
  unsent.hold("ann", 2, 0);
  unsent.hold("ann", 2, 0);
  EXPECT_EQ(unsent.of("ann"), 0U);
}

TEST(Unsent, WhoHoldsMoreThanTheOtherWouldMakesRoom) {
  Unsent unsent(1000, 1000);
  unsent.hold("ann", 1, 500);
  unsent.hold("ann", 2, 300);
  unsent.hold("bob", 3, 100);
  EXPECT_TRUE(unsent.fits_all(100));
  EXPECT_FALSE(unsent.fits_all(101));
  EXPECT_EQ(unsent.heavier_than("bob", 200), 1U);
  EXPECT_EQ(unsent.heavier_than("bob", 700), std::nullopt) << "it would have as much itself";
  EXPECT_EQ(unsent.heavier_than("ann", 1), std::nullopt) << "nobody cuts itself";
}

}  // namespace
}  // namespace consort::http
