describe("hwb.json", function()
  local json = hwb.json

  it("writes keys in order and numbers that read back equal", function()
    assert.equal('{"a":1,"b":0.1,"c":[1,2.5,"x"],"d":true}', json.encode{d = true, c = {1, 2.5, "x"}, b = 0.1, a = 1})
    for _, x in ipairs{0.1, 1 / 3, 1e300, 5e-324, 2 ^ 53 + 1.0, -0.0} do
      assert.equal(x, json.decode(json.encode(x)))
    end
    assert.equal("float", math.type(json.decode(json.encode(3.0))))
    assert.equal("integer", math.type(json.decode(json.encode(3))))
  end)

  it("writes what JSON does not have as null", function()
    assert.equal("[null,null,1]", json.encode{0 / 0, math.huge, 1})
  end)

  it("tells empty arrays from empty objects", function()
    assert.equal("{}", json.encode{})
    assert.equal("[]", json.encode(json.array{}))
    assert.equal("[]", json.encode(json.decode("[]")))
  end)

  it("keeps the places of nulls in arrays", function()
    local list = json.decode("[1,null,3]")
    assert.equal(3, #list)
    assert.equal(json.null, list[2])
  end)

  it("refuses what it cannot write", function()
    assert.error_matches(function() json.encode{f = print} end, "function")
    local loop = {}
    loop.loop = loop
    assert.error_matches(function() json.encode(loop) end, "deep")
    assert.error_matches(function() json.encode{"\255"} end, "UTF%-8")
  end)

  it("says where bad text is bad", function()
    local value, why = json.decode('{"a": [1, 2}')
    assert.is_nil(value)
    assert.matches("line 1, column %d+", why)
    assert.is_nil((json.decode('{"a":1,"a":2}')))
    assert.is_nil((json.decode(("["):rep(5000))))
  end)
end)
