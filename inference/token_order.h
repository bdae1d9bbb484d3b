// TokenOrder: the tokens of a vocabulary in the order of their bytes, so that what many begin with is looked at once. Immutable, any
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::inference {

class TokenOrder {
 public:
  struct Item {
    std::int32_t token = 0;
    std::uint32_t shared = 0;  // How many of its first bytes are those of the one before it.
    std::uint32_t from = 0;    // The others, in rest().
    std::uint32_t to = 0;
  };

  TokenOrder() = default;
  // Of the tokens below `tokens`; those without bytes are left out. What `bytes_of` gives is read while this is made alone.
  TokenOrder(std::int32_t tokens, const std::function<std::string_view(std::int32_t)>& bytes_of);

  const std::vector<Item>& items() const { return items_; }
  std::string_view rest() const { return rest_; }

 private:
  std::vector<Item> items_;
  std::string rest_;
};

}  // namespace tollgate::inference
