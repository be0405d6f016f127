using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class HtmlEntitiesTests
{
    // What Python 3.11's html.unescape gives.
    [TestCase("no reference & none & here &", "no reference & none & here &")]
    [TestCase("&lt;b&gt; &amp; &quot;&apos;", "<b> & \"'")]
    [TestCase("&ltb&gt &ampx; &notit; &copy2024", "<b> &x; ¬it; ©2024")]
    [TestCase("&hellip;&hellip &am; &; &unknown;", "…&hellip &am; &; &unknown;")]
    [TestCase("&NotEqualTilde; &fjlig; &CounterClockwiseContourIntegral;", "≂̸ fj ∳")]
    [TestCase("&eacute;&Eacute;&hearts;&rarr;&Zcaron;", "éÉ♥→Ž")]
    [TestCase("&#65;&#x42;&#X43;&#68 &#x1F642;", "ABCD \U0001F642")]
    [TestCase("&#128;&#150;&#x9f;&#129;", "€–Ÿ\u0081")]
    [TestCase("&#0;|&#xD800;|&#x110000;|&#99999999999999999999;", "\uFFFD|\uFFFD|\uFFFD|\uFFFD")]
    [TestCase("&#1;|&#11;|&#12;|&#13;|&#31;|&#127;|&#xFDD0;|&#x1FFFF;", "||\f|\r||||")]
    [TestCase("&#x;&#;&#xg;", "&#x;&#;&#xg;")]
    public void Are_replaced_as_python_does(string text, string expected) => Assert.That(HtmlEntities.Unescape(text), Is.EqualTo(expected));
}
