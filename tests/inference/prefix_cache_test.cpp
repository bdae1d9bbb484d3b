// The cache of prefixes: what is found, under which salt, and who gives up what when it is full.
#include <catch2/catch_test_macros.hpp>

#include <map>

#include "inference/prefix_cache.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

constexpr auto kBlock = static_cast<std::size_t>(PrefixCache::kBlockTokens);

std::vector<std::int32_t> Run(std::size_t count, std::int32_t from = 0) {
  std::vector<std::int32_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = from + static_cast<std::int32_t>(i);
  return tokens;
}
std::vector<std::uint8_t> State(std::size_t bytes, std::uint8_t mark = 1) { return std::vector<std::uint8_t>(bytes, mark); }
std::int64_t Found(PrefixCache& cache, std::string_view salt, const std::vector<std::int32_t>& prompt) {
  const auto hit = cache.Find(salt, prompt);
  return hit ? hit->tokens : 0;
}

TEST_CASE("What agrees on a block at least is found to the token, and a token is always left to evaluate") {
  PrefixCache cache(1 << 20);
  cache.Keep("a", Run(3 * kBlock + 5), State(100));
  CHECK(Found(cache, "a", Run(3 * kBlock + 5)) == 3 * PrefixCache::kBlockTokens + 4);
  CHECK(Found(cache, "a", Run(3 * kBlock + 1)) == 3 * PrefixCache::kBlockTokens);
  CHECK(Found(cache, "a", Run(3 * kBlock)) == 3 * PrefixCache::kBlockTokens - 1);
  CHECK(Found(cache, "a", Run(kBlock + 7)) == PrefixCache::kBlockTokens + 6);
  CHECK(Found(cache, "a", Run(kBlock + 1)) == PrefixCache::kBlockTokens);
  CHECK(Found(cache, "a", Run(kBlock)) == 0);
  CHECK(Found(cache, "a", Run(9 * kBlock)) == 3 * PrefixCache::kBlockTokens + 5);  // All that was kept.
  auto other = Run(4 * kBlock);
  other[2 * kBlock + 1] = 9999;
  CHECK(Found(cache, "a", other) == 2 * PrefixCache::kBlockTokens + 1);
  CHECK(Found(cache, "a", Run(4 * kBlock, 1)) == 0);
  CHECK(Found(cache, "a", {}) == 0);
}

TEST_CASE("Of two that agree on the same blocks, the one that agrees further is found") {
  PrefixCache cache(1 << 20);
  auto near = Run(3 * kBlock), far = Run(3 * kBlock);
  near[kBlock + 3] = 9999;
  far[kBlock + 6] = 9999;
  cache.Keep("a", far, State(1, 7));
  cache.Keep("a", near, State(1, 8));
  const auto hit = cache.Find("a", Run(3 * kBlock));
  REQUIRE(hit.has_value());
  CHECK(hit->tokens == PrefixCache::kBlockTokens + 6);
  CHECK(hit->state[0] == 7);
}

TEST_CASE("Nothing is found under another salt") {
  PrefixCache cache(1 << 20);
  cache.Keep("a", Run(3 * kBlock), State(100, 7));
  CHECK(Found(cache, "b", Run(4 * kBlock)) == 0);
  CHECK(Found(cache, "", Run(4 * kBlock)) == 0);
  cache.Keep("b", Run(3 * kBlock), State(100, 8));
  CHECK(cache.Find("a", Run(4 * kBlock))->state[0] == 7);
  CHECK(cache.Find("b", Run(4 * kBlock))->state[0] == 8);
}

TEST_CASE("Only what would save a block more is wanted, and a longer one takes the shorter one's place") {
  PrefixCache cache(1 << 20);
  CHECK_FALSE(cache.Wants("a", Run(kBlock - 1)));
  CHECK(cache.Wants("a", Run(2 * kBlock)));
  cache.Keep("a", Run(2 * kBlock + 3), State(100));
  CHECK_FALSE(cache.Wants("a", Run(2 * kBlock + 7)));
  CHECK_FALSE(cache.Wants("a", Run(kBlock)));
  CHECK(cache.Wants("a", Run(3 * kBlock)));
  CHECK(cache.Wants("b", Run(2 * kBlock)));
  cache.Keep("a", Run(4 * kBlock), State(100));
  CHECK(cache.entries() == 1);
  auto branch = Run(4 * kBlock);
  branch[3 * kBlock] = 9999;
  cache.Keep("a", branch, State(100));
  CHECK(cache.entries() == 2);
}

TEST_CASE("When it is full, who uses the most gives up what it used least recently") {
  PrefixCache cache(10'000);
  cache.Keep("small", Run(kBlock, 1), State(1000));
  for (int i = 0; i < 4; ++i) cache.Keep("big", Run(kBlock, 1000 * (i + 1)), State(1500));
  CHECK(Found(cache, "big", Run(kBlock + 1, 1000)) > 0);  // Used: no longer the first to go.
  for (int i = 4; i < 8; ++i) cache.Keep("big", Run(kBlock, 1000 * (i + 1)), State(1500));
  CHECK(cache.bytes() <= 10'000);
  CHECK(Found(cache, "small", Run(kBlock + 1, 1)) > 0);
  CHECK(Found(cache, "big", Run(kBlock + 1, 2000)) == 0);
  CHECK(Found(cache, "big", Run(kBlock + 1, 8000)) > 0);
  cache.Keep("big", Run(kBlock, 90'000), State(20'000));  // More than there is: not kept, nothing lost.
  CHECK(Found(cache, "small", Run(kBlock + 1, 1)) > 0);
  PrefixCache none(0);
  CHECK_FALSE(none.Wants("a", Run(kBlock)));
  none.Keep("a", Run(kBlock), State(1));
  CHECK(none.entries() == 0);
}

TEST_CASE("What comes counts as its tenant's: a long one takes nothing from who keeps less than its share") {
  PrefixCache cache(10'000);
  const auto has = [&](const char* salt, std::int32_t from) { return Found(cache, salt, Run(kBlock + 1, from)) > 0; };
  cache.Keep("small", Run(kBlock, 1), State(1000));
  cache.Keep("other", Run(kBlock, 1), State(1000));
  cache.Keep("big", Run(kBlock, 1000), State(3000));
  cache.Keep("big", Run(kBlock, 2000), State(9000));  // More than the two leave: not kept, and nothing of its own is lost for it.
  CHECK_FALSE(has("big", 2000));
  CHECK((has("small", 1) && has("other", 1) && has("big", 1000)));
  cache.Keep("big", Run(kBlock, 3000), State(4000));
  cache.Keep("big", Run(kBlock, 4000), State(4000));
  CHECK((has("small", 1) && has("other", 1)));
  CHECK((has("big", 4000) && !has("big", 1000)));
  cache.Keep("late", Run(kBlock, 1), State(3000));  // Less than its share: who has more gives way.
  CHECK((has("small", 1) && has("other", 1) && has("late", 1) && !has("big", 4000)));
}

TEST_CASE("One that fills it alone gives way to who comes for its half, and gets no more than the other half back") {
  PrefixCache cache(10'000);
  cache.Keep("all", Run(kBlock, 1), State(9000));
  cache.Keep("late", Run(kBlock, 1), State(4000));
  CHECK(cache.entries() == 1);
  cache.Keep("all", Run(kBlock, 1), State(9000));
  CHECK(Found(cache, "late", Run(kBlock + 1, 1)) > 0);
  CHECK(Found(cache, "all", Run(kBlock + 1, 1)) == 0);
  cache.Keep("all", Run(kBlock, 1), State(4000));
  CHECK(cache.entries() == 2);
}

TEST_CASE("Whatever comes, nobody loses anything to who then uses as much, and nothing is lost for what is not kept") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  constexpr std::int64_t kMax = 50'000;
  PrefixCache cache(kMax);
  struct Kept {
    std::string salt;
    std::int32_t from = 0;
    std::int64_t bytes = 0;
  };
  std::vector<Kept> kept;
  const auto used = [&] {
    std::map<char, std::int64_t> bytes;
    for (const Kept& one : kept) bytes[one.salt[0]] += one.bytes;
    return bytes;
  };
  int lost = 0, refused = 0;
  for (std::int32_t round = 1; round < 2000; ++round) {
    const std::string salt = std::string(1, static_cast<char>('a' + random() % 5)) + (random() % 3 == 0 ? "|x" : "");
    const auto bytes = static_cast<std::int64_t>(100 + random() % (random() % 4 == 0 ? 40'000 : 4'000));
    const auto before = used();
    const std::int64_t held = cache.bytes();
    cache.Keep(salt, Run(kBlock, round * 100), State(static_cast<std::size_t>(bytes)));
    kept.push_back({salt, round * 100, bytes + 256 + static_cast<std::int64_t>(kBlock) * 4});
    std::erase_if(kept, [&](const Kept& one) { return Found(cache, one.salt, Run(kBlock + 1, one.from)) == 0; });
    const auto after = used();
    REQUIRE(cache.bytes() <= kMax);
    if (kept.empty() || kept.back().from != round * 100) {
      ++refused;
      REQUIRE(cache.bytes() == held);
      continue;
    }
    for (const auto& [tenant, had] : before) {
      const std::int64_t has = after.contains(tenant) ? after.at(tenant) : 0;
      if (tenant == salt[0] || has == had) continue;
      ++lost;
      REQUIRE(had > after.at(salt[0]));
      REQUIRE(had > kMax / 5);
    }
  }
  CHECK(lost > 20);
  CHECK(refused > 20);
}

TEST_CASE("Teams that are idle have no share and give way first: a hundred that asked once leave the cache to the two that work") {
  base::ManualClock clock;
  PrefixCache cache(100'000, clock);
  const auto has = [&](const std::string& salt) { return Found(cache, salt, Run(kBlock + 1)) > 0; };
  const auto keep = [&](const std::string& salt, std::size_t bytes) { cache.Keep(salt, Run(kBlock), State(bytes)); };
  for (int team = 0; team < 100; ++team) {
    clock.Advance(std::chrono::seconds(1));
    keep("idle" + std::to_string(team), 700);
  }
  CHECK(cache.entries() == 100);
  clock.Advance(PrefixCache::kIdle - std::chrono::seconds(10));
  REQUIRE(has("idle0"));                         // Which so has used it.
  CHECK(cache.Fits("a", 1000, 84'000) == 1000);  // All are idle but the last ten, and it.
  CHECK(cache.Fits("a", 1000, 86'000) < 1000);
  clock.Advance(std::chrono::seconds(10));
  keep("a", 40'000);
  keep("b", 40'000);
  const std::int64_t entries = cache.entries();
  CHECK(cache.bytes() <= 100'000);
  CHECK(cache.bytes() > 98'000);  // No more was given up than had to be.
  CHECK((has("idle0") && has("idle99") && !has("idle1") && !has("idle80")));
  for (int round = 0; round < 100; ++round) {
    clock.Advance(std::chrono::seconds(30));
    CHECK((has("a") && has("b")));
    CHECK_FALSE(cache.Wants("a", Run(kBlock)));
  }
  CHECK(cache.entries() == entries);             // Time alone takes nothing from anybody.
  CHECK(cache.Fits("c", 1000, 29'000) == 1000);  // A third: of those that work nobody has more.
  CHECK(cache.Fits("c", 1000, 29'200) < 1000);
  CHECK(cache.Fits("a", 1000, 54'000) == 1000);
}

TEST_CASE("Nobody makes another idle, however much it asks, and among those that work the shares hold") {
  base::ManualClock clock;
  PrefixCache cache(10'000, clock);
  cache.Keep("quiet", Run(kBlock), State(3000));
  clock.Advance(PrefixCache::kIdle - std::chrono::seconds(1));
  for (std::int32_t round = 0; round < 1000; ++round) {
    cache.Keep("loud", Run(kBlock, round * 100), State(1000));
    Found(cache, "loud", Run(kBlock + 1, round * 100));
  }
  CHECK(Found(cache, "quiet", Run(kBlock + 1)) > 0);
  clock.Advance(PrefixCache::kIdle - std::chrono::seconds(1));
  cache.Keep("loud", Run(kBlock, 1), State(6000));
  CHECK(Found(cache, "quiet|other", Run(kBlock + 1)) == 0);  // It has nothing there: no use of the other.
  CHECK(Found(cache, "quiet", Run(kBlock + 1)) > 0);
  cache.Keep("quiet|other", Run(kBlock), State(100));
  clock.Advance(std::chrono::minutes(9));
  CHECK(Found(cache, "quiet|other", Run(kBlock + 1)) > 0);  // Used under one salt, it keeps what it has under all.
  clock.Advance(std::chrono::minutes(9));
  for (std::int32_t round = 0; round < 100; ++round) cache.Keep("loud", Run(kBlock, round * 100), State(1000));
  CHECK(Found(cache, "quiet", Run(kBlock + 1)) > 0);
  clock.Advance(PrefixCache::kIdle);
  cache.Keep("loud", Run(kBlock, 1), State(9000));
  CHECK(cache.entries() == 1);
  CHECK(Found(cache, "loud", Run(kBlock + 1, 1)) > 0);
}

TEST_CASE("What fits of a long one is told to the block, and then is kept") {
  PrefixCache none(0);
  CHECK(none.Fits("a", 100, 1000) == 0);
  PrefixCache cache(100'000);
  cache.Keep("b", Run(kBlock), State(30'000));
  CHECK(cache.Fits("a", 100, 50'000) == 100);
  CHECK(cache.Fits("a", 5, 200'000) == 0);
  for (const std::int64_t each : {100, 520, 3000}) {  // Bytes of a token, beside some that are there for any number of them.
    const std::int64_t tokens = 5000, fits = cache.Fits("a", tokens, 200 + tokens * each);
    INFO(each);
    CHECK(fits % PrefixCache::kBlockTokens == 0);
    CHECK(fits * (each + 4) <= 70'000);
    CHECK((fits + 3 * PrefixCache::kBlockTokens) * (each + 4) > 69'000);
    const auto made = Run(static_cast<std::size_t>(fits));
    CHECK(cache.MakeRoom("a", made, 200 + fits * each));
    cache.Keep("a", made, State(static_cast<std::size_t>(200 + fits * each)));
    CHECK_FALSE(cache.Wants("a", made));
    CHECK(Found(cache, "b", Run(2 * kBlock)) == PrefixCache::kBlockTokens);
  }
}

TEST_CASE("What is forgotten is what would be found, and no more") {
  PrefixCache cache(1 << 20);
  auto other = Run(3 * kBlock);
  other[2 * kBlock] = 9999;
  cache.Keep("a", Run(3 * kBlock), State(1));
  cache.Keep("a", other, State(1));
  cache.Keep("b", Run(3 * kBlock), State(1));
  cache.Forget("a", Run(4 * kBlock));
  CHECK(Found(cache, "a", Run(4 * kBlock)) == 2 * PrefixCache::kBlockTokens);
  CHECK(Found(cache, "b", Run(4 * kBlock)) == 3 * PrefixCache::kBlockTokens);
  cache.Forget("a", Run(4 * kBlock));
  cache.Forget("a", Run(4 * kBlock));
  cache.Forget("a", {});
  CHECK(Found(cache, "a", Run(4 * kBlock)) == 0);
  CHECK(cache.entries() == 1);
}

TEST_CASE("A tenant's prefixes under all its adapters count together: none loses anything to one that brings many sets") {
  PrefixCache cache(10'000);
  cache.Keep("a", Run(kBlock), State(3000));
  for (int set = 0; set < 8; ++set) cache.Keep("b|" + std::to_string(set), Run(kBlock), State(2000));
  CHECK(cache.Find("a", Run(2 * kBlock)).has_value());
  CHECK(cache.Find("b|7", Run(2 * kBlock)).has_value());
  CHECK_FALSE(cache.Find("b|0", Run(2 * kBlock)).has_value());
  CHECK_FALSE(cache.Find("b", Run(2 * kBlock)).has_value());
}

TEST_CASE("Whatever is kept and looked for, a hit is a prefix that was kept under that salt, and no other saves a block more") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  PrefixCache cache(1 << 30);
  std::map<std::string, std::vector<std::vector<std::int32_t>>> kept;
  const auto tokens = [&] {  // Few forms, so that many begin alike.
    std::vector<std::int32_t> made(random() % (6 * kBlock));
    for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<std::int32_t>(i % kBlock == 0 ? random() % 2 : 5);
    return made;
  };
  for (int round = 0; round < 3000; ++round) {
    const std::string salt(1, static_cast<char>('a' + random() % 3));
    const auto made = tokens();
    if (random() % 2 == 0) {
      if (cache.Wants(salt, made)) cache.Keep(salt, made, State(1));
      kept[salt].push_back(made);
      continue;
    }
    // What whole blocks give, and to the token: a shorter one's last tokens go when a longer takes its place.
    std::size_t blocks = 0, best = 0;
    for (const auto& known : kept[salt]) {
      const auto same = static_cast<std::size_t>(std::mismatch(known.begin(), known.end(), made.begin(), made.end()).first - known.begin());
      const std::size_t usable = std::min(same, made.empty() ? 0 : made.size() - 1);
      blocks = std::max(blocks, std::min(usable, known.size() / kBlock * kBlock) / kBlock * kBlock);
      best = std::max(best, usable);
    }
    const auto found = static_cast<std::size_t>(Found(cache, salt, made));
    REQUIRE(found >= blocks);
    REQUIRE(found <= (blocks == 0 ? 0 : best));
  }
}

}  // namespace
}  // namespace tollgate::inference
