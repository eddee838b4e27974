--- Transformer layers.
return function(hwb, nn)
  local options = require "hwb.nn.options"

  local MultiHeadAttention = nn.Module:extend("MultiHeadAttention")

  --- nn.MultiHeadAttention{size, heads}: self-attention on x[N,T,size]; an optional
  -- mask [N,1,1,T] (or one that broadcasts to [N,heads,T,T]) is added to the scores.
  function MultiHeadAttention:init(...)
    local o = options("MultiHeadAttention", options.pack(...), { "size", "heads" }, {})
    options.whole("MultiHeadAttention", o, 1, "size heads")
    if o.size % o.heads ~= 0 then
      error(("MultiHeadAttention: %d does not divide into %d heads"):format(o.size, o.heads), 3)
    end
    self.size, self.heads = o.size, o.heads
    self.query = nn.Linear{ o.size, o.size }
    self.key = nn.Linear{ o.size, o.size }
    self.value = nn.Linear{ o.size, o.size }
    self.output = nn.Linear{ o.size, o.size }
  end

  -- [N,T,size] -> [N,heads,T,size/heads]
  local function split(x, heads)
    local s = x:size()
    return x:reshape(s[1], s[2], heads, s[3] // heads):permute(1, 3, 2, 4)
  end

  function MultiHeadAttention:forward(x, mask)
    local s = x:size()
    local q = split(self.query(x), self.heads)
    local k = split(self.key(x), self.heads)
    local v = split(self.value(x), self.heads)
    local y = hwb.attention(q, k, v, mask):permute(1, 3, 2, 4)
    return self.output(y:reshape(s[1], s[2], s[3]))
  end

  local EncoderLayer = nn.Module:extend("TransformerEncoderLayer")

  --- nn.TransformerEncoderLayer{size, heads, hidden=4*size}: post-norm, as in BERT.
  function EncoderLayer:init(...)
    local o = options("TransformerEncoderLayer", options.pack(...), { "size", "heads" }, { hidden = false })
    options.whole("TransformerEncoderLayer", o, 1, "size heads")
    local hidden = o.hidden or 4 * o.size
    self.attention = nn.MultiHeadAttention{ o.size, o.heads }
    self.norm1 = nn.LayerNorm{ o.size, eps = 1e-12 }
    self.fc1 = nn.Linear{ o.size, hidden }
    self.fc2 = nn.Linear{ hidden, o.size }
    self.norm2 = nn.LayerNorm{ o.size, eps = 1e-12 }
  end

  function EncoderLayer:forward(x, mask)
    x = self.norm1(x + self.attention(x, mask))
    return self.norm2(x + self.fc2(self.fc1(x):gelu()))
  end

  return { MultiHeadAttention = MultiHeadAttention, TransformerEncoderLayer = EncoderLayer }
end
